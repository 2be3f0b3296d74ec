// What is said where no binary loads, by the words of the programs that were in the way: those that are too large to be
// run here. package.test.mjs and `npm run test:runtimes` run the others.
import { expect, test } from 'vitest'
import { diagnose } from '../../lib/diagnosis.js'
import { PLATFORMS } from '../../lib/native.js'

const packageName = 'concurrency-limit-linux-x64-gnu'

/** An error as native.js makes it, with the messages of what it tried. */
const loaderError = (...messages) =>
  new Error('Cannot find native binding.', {
    cause: messages.reduce((cause, message) => new Error(message, { cause }), undefined),
  })

const told = (...messages) =>
  diagnose({ name: 'concurrency-limit', packageName, platforms: PLATFORMS, error: loaderError(...messages) })

const FILE = '/app/node_modules/concurrency-limit-linux-x64-gnu/concurrency-limit.linux-x64-gnu.node'
const LOCAL = "Cannot find module './concurrency-limit.linux-x64-gnu.node'\nRequire stack:\n- /app/native.js"
const UNDECLARED =
  "concurrency-limit tried to access concurrency-limit-wasm32-wasi, but it isn't declared in its dependencies; this makes " +
  'the require call ambiguous and unsound.\n\nRequired package: concurrency-limit-wasm32-wasi'
const UNQUALIFIED = 'Qualified path resolution failed: we looked for the following paths, but none could be accessed.'

test.each([
  [
    'Yarn, which left it in its archive',
    [
      UNQUALIFIED,
      '/y/cache/concurrency-limit-linux-x64-gnu-npm-1.zip/node_modules/x.node: cannot open shared object file: Not a directory',
      UNDECLARED,
    ],
    /inside an archive of Yarn's.*unplugged.*yarn install/,
  ],
  [
    'Yarn, which has it for another platform',
    [
      UNQUALIFIED,
      'Required unplugged package missing from disk. This may happen when switching branches without running installs',
      UNDECLARED,
    ],
    /isn't installed.*supportedArchitectures/,
  ],
  [
    'Electron, which has it in its archive',
    [LOCAL, '/opt/app/resources/app.asar/node_modules/x.node: cannot open shared object file: Not a directory'],
    /asar archive.*asarUnpack/,
  ],
  [
    'Deno without a right',
    [LOCAL, `Requires ffi access to "${FILE}", run again with the --allow-ffi flag`],
    /--allow-ffi, --allow-read and --allow-env\. Deno says: Requires ffi access/,
  ],
  [
    'a file system without programs',
    [LOCAL, `${FILE}: failed to map segment from shared object: Operation not permitted`],
    /may not be loaded.*noexec.*failed to map/,
  ],
  [
    'another C library',
    [LOCAL, `Error loading shared library ld-linux-x86-64.so.2: No such file or directory (needed by ${FILE})`],
    /is there but doesn't load: Error loading shared library ld-linux.*glibc 2\.17 or musl/,
  ],
  ['another architecture', [LOCAL, `${FILE}: wrong ELF class: ELFCLASS32`], /doesn't load: .*wrong ELF class.*anew/],
  [
    'Bun',
    ["Cannot find module './x.node' from '/a/native.js'", "Cannot find package 'x' from '/a'"],
    /isn't installed/,
  ],
])('%s', (_, messages, expected) => {
  expect(told(...messages)).toMatch(expected)
})
