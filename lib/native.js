'use strict'

// Finds the binary of this platform; `diagnosis.js` says why there is none.
//
// `native.js` above this folder is generated: it knows where to look, but not why nothing was found. A binary of
// another version is refused: the rows are an interface within one version. Nothing is loaded before the first Limiter
// is made.

const { diagnose } = require('./diagnosis.js')
const { BinaryError } = require('./errors.js')
const { name, version } = require('../package.json')

const PLATFORMS = [
  'darwin-arm64',
  'darwin-x64',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'linux-x64-gnu',
  'linux-x64-musl',
  'win32-arm64-msvc',
  'win32-x64-msvc',
]

/** What the binary exports. */
function loadBinary() {
  let binary
  try {
    binary = require('../native.js')
  } catch (error) {
    throw binaryError(whyNothingLoads, error)
  }
  const found = binary.version?.()
  // A bundler replaced it.
  if (found === undefined)
    throw binaryError(whyNothingLoads, new Error('Cannot find module: what is there is no binary'))
  if (found !== version) throw binaryError(() => otherVersion(found))
  return binary
}

function binaryError(why, cause) {
  const libc = process.platform === 'linux' ? readLibc() : null
  const place = { platform: process.platform, arch: process.arch, libc, node: process.versions.node }
  const abi = { linux: libc === 'musl' ? '-musl' : '-gnu', win32: '-msvc' }[place.platform] ?? ''
  const suffix = `${place.platform}-${place.arch}${abi}`
  const isKnown = PLATFORMS.includes(suffix)
  const at = [`${place.platform} ${place.arch}`, libc, `Node ${place.node}`].filter((part) => part !== null).join(', ')
  const packageName = isKnown ? `${name}-${suffix}` : null
  return new BinaryError(`${why(packageName, cause)} (${at})`, { ...place, package: packageName }, cause)
}

/** The C library on Linux; null if the process may not find out. */
function readLibc() {
  const { report } = process
  const before = report.excludeNetwork
  report.excludeNetwork = true // else it asks the name server about every open connection
  try {
    const { glibcVersionRuntime: version } = report.getReport().header
    return version === undefined ? 'musl' : `glibc ${version}`
  } catch {
    return null
  } finally {
    report.excludeNetwork = before
  }
}

function whyNothingLoads(packageName, error) {
  if (packageName === null) return `there is no binary of ${name} for this platform; there are ${PLATFORMS.join(', ')}`
  return diagnose({ name, packageName, platforms: PLATFORMS, error })
}

function otherVersion(found) {
  return `${name} is ${version}, but its binary is ${found}. Install ${name} and its optional dependencies anew, together`
}

module.exports = { PLATFORMS, loadBinary }
