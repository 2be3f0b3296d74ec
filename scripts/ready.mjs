// `npm run ready`: what a change must satisfy besides its tests: format, lints, types, licences. Changes
// no file.
import { dependencies, requireCargo } from './prepare.mjs'
import { runAll } from './step.mjs'

// The ways in which users' compilers find the types.
const RESOLUTIONS = [
  ['node16', 'node16'],
  ['nodenext', 'nodenext'],
  ['preserve', 'bundler'],
]

requireCargo()
await dependencies()
await runAll([
  ['cargo fmt', 'cargo', ['fmt', '--all', '--check']],
  [
    'cargo clippy',
    'cargo',
    ['clippy', '--workspace', '--all-targets', '--profile', 'ci', '--quiet', '--', '-D', 'warnings'],
  ],
  [
    'cargo doc',
    'cargo',
    ['doc', '--workspace', '--no-deps', '--profile', 'ci', '--quiet'],
    { env: { RUSTDOCFLAGS: '-D warnings' } },
  ],
  // The crate alone, as it would be published: nothing of it lies outside of its folder.
  ['cargo package', 'cargo', ['package', '--package', 'concurrency-limit', '--allow-dirty', '--offline', '--quiet']],
  ['biome', 'npx', ['--no-install', 'biome', 'check', '--error-on-warnings', '.']],
  ...RESOLUTIONS.map(([module, resolution]) => [
    `types, by ${resolution}`,
    'npx',
    ['--no-install', 'tsc', '--project', 'tsconfig.json', '--module', module, '--moduleResolution', resolution],
  ]),
  ['licences', 'node', ['scripts/licences.mjs', '--check']],
])
