// `npm run ready`: what a change must satisfy besides its tests: format, lints, types. Changes no file.
import { dependencies, requireCargo } from './prepare.mjs'
import { runAll } from './step.mjs'

requireCargo()
await dependencies()
await runAll([
  ['cargo fmt', 'cargo', ['fmt', '--all', '--check']],
  [
    'cargo clippy',
    'cargo',
    ['clippy', '--workspace', '--all-targets', '--profile', 'ci', '--quiet', '--', '-D', 'warnings'],
  ],
  ['biome', 'npx', ['--no-install', 'biome', 'check', '--error-on-warnings', '.']],
  ['types', 'npx', ['--no-install', 'tsc', '--project', 'tsconfig.json']],
])
