// `npm run test:package`: builds the binary of this machine as it is published and tests the package with it: its size,
// what it needs of the system, and that it runs where nothing but the tarballs is installed.
//
// `-- --prebuilt <folder>` tests a binary that was built elsewhere. With --if-possible it is content where zig can't be
// installed, and says that nothing was checked.
import { parseArgs } from 'node:util'
import { dependencies } from './prepare.mjs'
import { buildRelease } from './release.mjs'
import { runAll } from './step.mjs'

const { values } = parseArgs({ options: { prebuilt: { type: 'string' }, 'if-possible': { type: 'boolean' } } })
await dependencies()
const folder = values.prebuilt ?? (await buildRelease())
if (folder === null) {
  console.log('\nNOT CHECKED: the published binary. zig was not found and could not be installed from PyPI.')
  process.exit(values['if-possible'] ? 0 : 1)
}
const args = ['--no-install', 'vitest', 'run', '__test__/package/package', '__test__/release']
await runAll([['tests of the published package', 'npx', args, { env: { RELEASE_BINARIES: folder } }]])
