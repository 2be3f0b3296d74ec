'use strict'

// Why no binary could be loaded, and what to do about it, found from the loader's errors: native.js keeps only the
// messages of what it tried. Each cause has its own advice: "install it again" rarely helps.

const { existsSync } = require('node:fs')
const { join } = require('node:path')

/** How runtimes, package managers and bundlers say that a file doesn't exist. */
const NOT_THERE = [
  /^Cannot find (module|package)/,
  /^No such built-in module/,
  /^Qualified path resolution failed/,
  /^Required unplugged package missing/,
  /isn't declared in/,
  /^(Could not dynamically|Dynamic) require/,
  /^require is not defined|^require\.resolve is not a function/,
]

/** The first whose pattern is in the messages; `it`: the arguments of `diagnose`, and the text that matched. */
const BY_WORDS = [
  [
    /loading addons is disabled/,
    ({ name }) =>
      `this process may not load the binary of ${name}: add --allow-addons to --permission, and leave out --no-addons`,
  ],
  [
    /^.*use --allow-fs-read.*|^Access to this API has been restricted.*/im,
    ({ name, packageName }) =>
      `this process may not read the binary of ${name}: name the folders of ${name} and ${packageName} in ` +
      '--allow-fs-read, by their real paths',
  ],
  [
    /^.*run again with the --allow-.*|^.*NotCapable.*/m,
    ({ name, words }) =>
      `Deno may not load the binary of ${name}: it needs --allow-ffi, --allow-read and --allow-env. Deno says: ${words}`,
  ],
  [
    /^.*\.asar[/\\].*$/m,
    ({ name, words }) =>
      `the binary of ${name} is inside an asar archive, where the system can't load it: unpack it, with asarUnpack: ` +
      `'**/*.node'. The system says: ${words}`,
  ],
  [
    /^.*\.zip[/\\].*Not a directory.*$/im,
    ({ packageName }) =>
      `${packageName} is inside an archive of Yarn's, where the system can't load it: in package.json, don't set ` +
      `dependenciesMeta["${packageName}"].unplugged to false, and run yarn install again`,
  ],
  [
    /^.*(failed to map segment|permission denied|operation not permitted).*$/im,
    ({ name, words }) =>
      `the binary of ${name} is there but may not be loaded: its file must be readable, and its file system not mounted ` +
      `with noexec. The system says: ${words}`,
  ],
]

/**
 * What is wrong, in a sentence or two. `error` is the loader's, `packageName` the package that has the binary of this
 * platform, `platforms` the suffixes of all of them.
 */
function diagnose({ name, packageName, platforms, error }) {
  const messages = messagesOf(error)
  for (const [pattern, tell] of BY_WORDS) {
    const found = pattern.exec(messages.join('\n'))
    if (found !== null) return tell({ name, packageName, words: found[0] })
  }
  const broken = messages.find((message) => !NOT_THERE.some((pattern) => pattern.test(message)))
  if (broken !== undefined) {
    return (
      `the binary of ${name} is there but doesn't load: ${broken}. Install ${packageName} anew, on the platform that ` +
      'runs it; on Linux it needs glibc 2.17 or musl 1.2 at least'
    )
  }
  if (isSingleExecutable()) {
    return (
      `the binary of ${name} can't be found from within a single executable: put node_modules beside it, leave ${name} ` +
      `out of the bundle, and load it by createRequire(process.execPath)('${name}')`
    )
  }
  if (isBundled()) {
    return (
      `${name} was taken into a bundle, where it can't find its binary. Keep it external and deploy ` +
      `node_modules/${name} and node_modules/${packageName} with the bundle. esbuild: --external:${name}; webpack: ` +
      `externals: { '${name}': 'commonjs ${name}' }; Rollup: external: ['${name}']; Vite: ssr.external; Next.js: ` +
      'serverExternalPackages'
    )
  }
  const others = platforms.map((platform) => `${name}-${platform}`).filter(isBeside)
  if (others.length > 0) {
    return (
      `installed is ${others.join(', ')}, but this process needs ${packageName}: install on the platform that runs it. ` +
      "Don't copy node_modules from elsewhere into an image (.dockerignore helps)"
    )
  }
  return (
    `${packageName} isn't installed. It is an optional dependency of ${name}: install on the platform that runs it, ` +
    'without --omit=optional, --no-optional or --ignore-optional. If a lock file of another platform lacks it, remove ' +
    'the lock file and node_modules and install again; pnpm and Yarn have supportedArchitectures for several platforms'
  )
}

/**
 * The messages of all tries, the first one first. Tries of WebAssembly, which isn't published, are left out.
 */
function messagesOf(error) {
  const messages = []
  for (let tried = error.cause ?? error; tried; tried = tried.cause) {
    const [line] = String(tried.message).split('\n')
    if (!/wasm32|wasi\b/.test(line)) messages.unshift(line)
  }
  return messages
}

function isSingleExecutable() {
  return process.getBuiltinModule?.('node:sea')?.isSea() === true
}

/** This file isn't where it was published: it is part of a bundle. Bundles that are ES modules can't be detected. */
function isBundled() {
  return typeof __dirname !== 'string' || !existsSync(join(__dirname, 'diagnosis.js'))
}

const isBeside = (packageName) => existsSync(join(__dirname, '..', '..', packageName, 'package.json'))

module.exports = { diagnose }
