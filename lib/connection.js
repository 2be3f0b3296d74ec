'use strict'

// The connection that `new Limiter(…)` names. Each member is checked here; the core reads the URL and checks which
// members go together. Here is what only JavaScript knows: types, functions, the environment, and whether anything was
// named at all.

const { isMainThread } = require('node:worker_threads')
const { checkClient } = require('./client.js')
const { ConfigError } = require('./errors.js')
const { identityOf } = require('./identity.js')
const { Source, answerBy } = require('./questions.js')
const { SIGNALS } = require('./release-on.js')
const { between, check, fits, integer, ms, object, rules, secret, text } = require('./rules.js')
const { inUrl, isHost, readTls, SENTINEL_TLS, TLS } = require('./tls.js')
const { Told, conceal } = require('./told.js')

const NODES = 1000

const isSwitch = (value) => typeof value === 'boolean' || (typeof value === 'object' && value !== null)
const isPort = (value) => Number.isSafeInteger(value) && value >= 1 && value <= 65_535
const isNode = (value) =>
  typeof value === 'string'
    ? fits(value, 1, 512)
    : isHost(value?.host) &&
      (value.port === undefined || isPort(value.port)) &&
      Object.keys(value).every((name) => name === 'host' || name === 'port')

const nodes = object(
  (value) => Array.isArray(value) && value.length >= 1 && value.length <= NODES && value.every(isNode),
  "a list of 'host:port' or { host, port }",
  undefined,
)
const node = object(isNode, "'host:port', { host, port } or nothing", undefined)
const isFunction = (value) => typeof value === 'function'
const orFunction = (rule) =>
  object(
    (value) => isFunction(value) || rule.accepts(value),
    `${rule.expected}, or a function that gives one`,
    undefined,
  )
const USERNAME = text(1, 1024, undefined)
const PASSWORD = text(1, 4096, undefined)
const username = secret(orFunction(USERNAME))
const password = secret(orFunction(PASSWORD))
const natMap = object(
  (value) => isFunction(value) || (typeof value === 'object' && value !== null && !Array.isArray(value)),
  "a table { 'host:port': { host, port } } or a function",
  undefined,
)
const tls = secret(object(isSwitch, 'true, false or an object', undefined))
const seconds = (fallback) => between(0.01, 3600, 'seconds from 0.01 to 3600', fallback)

const SENTINEL = rules({ name: text(1, 1024, undefined), nodes, username, password, tls }, 'sentinel')

const CONNECTION = rules({
  url: secret(text(1, 4096, undefined)),
  host: object(isHost, 'a host name or an IP address', undefined),
  port: integer(1, 65_535, undefined),
  path: object(
    (value) => typeof value === 'string' && value.startsWith('/') && fits(value, 2, 107) && !value.includes('\0'),
    'the absolute path of a Unix socket, up to 107 bytes',
    undefined,
  ),
  db: integer(0, 2_147_483_647, undefined),
  username,
  password,
  tls,
  cluster: nodes,
  natMap,
  // What node-redis calls it.
  nodeAddressMap: natMap,
  sentinel: secret(
    object((value) => typeof value === 'object' && value !== null, 'an object with name and nodes', undefined),
  ),
  client: secret(
    object(
      (value) => (typeof value === 'object' || typeof value === 'function') && value !== null,
      'a client of ioredis or node-redis',
      undefined,
    ),
  ),
  connectTimeout: seconds(10),
  commandTimeout: seconds(1),
  maxConnections: integer(1, 1000, undefined),
  minReplicas: integer(0, 1000, 0),
  replicaTimeout: seconds(1),
  clientName: object(
    (value) => typeof value === 'string' && /^[!-~]{1,128}$/.test(value),
    '1 to 128 printable ASCII characters without spaces',
    undefined,
  ),
  identity: object(
    (value) => value === false || (typeof value === 'string' && fits(value, 1, 64)),
    'a name of 1 to 64 bytes in UTF-8, or false',
    undefined,
  ),
  keyPrefix: object(
    (value) => typeof value === 'string' && fits(value, 1, 128) && !/[{}]/.test(value),
    'a well-formed string of 1 to 128 bytes in UTF-8 without { and }',
    'cl',
  ),
  settle: between(0, 3600, 'seconds from 0 to 3600', 2),
  onUnavailable: object(
    (value) => value === 'reject' || value === 'allow' || value === 'local',
    "'reject', 'allow' or 'local'",
    'reject',
  ),
  unavailableTimeout: between(0.1, 604_800, 'seconds from 0.1 to 604800 (7 days)', 60),
  stallTimeout: between(0.1, 604_800, 'seconds from 0.1 to 604800 (7 days)', undefined),
  releaseOn: object(
    (value) => Array.isArray(value) && value.every((signal) => SIGNALS.includes(signal)),
    `a list of ${SIGNALS.join(', ')}`,
    undefined,
  ),
})

const SECURE = /^(rediss|valkeys)[:+]/i

/** Options that name a server; without any of them, the environment names it. */
const WHERE = ['url', 'host', 'port', 'path', 'db', 'username', 'password', 'cluster', 'sentinel', 'client']

/**
 * What `new Limiter(url?, options?)` or `new Limiter(options)` names: the options as the bridge takes them, whether
 * nothing named a server (`isDefault`), so that the store of this process is used, and the client object, if any.
 */
function readConnection(url, options, env) {
  if (typeof url === 'object' && url !== null && options === undefined) return readConnection(undefined, url, env)
  const given = check(CONNECTION, options === undefined ? {} : options, 'options')
  if (url !== undefined) {
    if (given.url !== undefined) throw new ConfigError('url', conceal(given.url), 'one url, not two')
    given.url = check(CONNECTION, { url }, 'options').url
  }
  if (WHERE.every((name) => given[name] === undefined)) given.url = env.REDIS_URL || undefined
  const isDefault = WHERE.every((name) => given[name] === undefined) && !given.tls
  const value = (name) => given[name] ?? CONNECTION.table[name].fallback
  return {
    ...readPlace(isDefault ? { ...given, url: 'memory:' } : given),
    isDefault,
    connectTimeoutMs: ms(value('connectTimeout')),
    commandTimeoutMs: ms(value('commandTimeout')),
    maxConnections: given.maxConnections,
    minReplicas: value('minReplicas'),
    replicaTimeoutMs: ms(value('replicaTimeout')),
    clientName: given.clientName,
    identity: identityOf(given.identity, given.clientName),
    keyPrefix: value('keyPrefix'),
    settleMs: ms(value('settle')),
    onUnavailable: value('onUnavailable'),
    unavailableTimeoutMs: ms(value('unavailableTimeout')),
    stallTimeoutMs: given.stallTimeout === undefined ? undefined : ms(given.stallTimeout),
    releaseOn: readSignals(given.releaseOn ?? []),
  }
}

function readSignals(signals) {
  if (signals.length === 0 || isMainThread) return [...new Set(signals)]
  throw new ConfigError('releaseOn', new Told(signals.join()), 'none in a worker thread, which hears no signals')
}

/** The options that name a server, as the bridge takes them. */
function readPlace({ url, host, port, path, db, tls, cluster, sentinel, client, ...given }) {
  if (url !== undefined && /^memory:/i.test(url) && !/^memory:(\/\/)?$/i.test(url)) {
    throw new ConfigError('url', conceal(url), 'memory: alone')
  }
  return {
    ...{ url, host, port, path, db },
    username: source('username', given.username, USERNAME),
    password: source('password', given.password, PASSWORD),
    natMap: readNatMap(given),
    tls: readTls(TLS, tls ?? (SECURE.test(url) || undefined), 'tls'),
    cluster: cluster?.map(nodeText),
    sentinel: sentinel === undefined ? undefined : readSentinel(sentinel),
    client: client === undefined ? undefined : checkClient(client),
  }
}

function readSentinel(given) {
  const { name, nodes, username, password, tls } = check(SENTINEL, given, 'sentinel')
  return {
    name,
    nodes: nodes?.map(nodeText),
    username: source('sentinel.username', username, USERNAME),
    password: source('sentinel.password', password, PASSWORD),
    tls: readTls(SENTINEL_TLS, tls, 'sentinel.tls'),
  }
}

/** The value itself, or the Source of a function that is given instead. */
function source(option, value, rule) {
  return isFunction(value) ? new Source(option, value, answerBy(rule)) : value
}

/** Announced addresses and the addresses to use instead, as pairs of texts, or the Source of a function. */
function readNatMap({ natMap, nodeAddressMap }) {
  if (natMap !== undefined && nodeAddressMap !== undefined) {
    throw new ConfigError('nodeAddressMap', conceal(nodeAddressMap), 'nothing beside natMap, which means the same')
  }
  const map = natMap ?? nodeAddressMap
  if (map === undefined) return undefined
  const read = answerBy(node)
  // Both libraries ask about an IPv6 address without brackets. No answer means that the announced address is used.
  const ask = (about) => map(about.replace(/^\[(.*)\]:/, '$1:'))
  if (isFunction(map)) {
    return new Source('natMap', map, (answer, about) => (answer == null ? about : nodeText(read(answer))), ask)
  }
  return Object.entries(map).map(([from, to]) => {
    if (!node.accepts(to)) throw new ConfigError(`natMap[${JSON.stringify(from)}]`, to, "'host:port' or { host, port }")
    return [from, nodeText(to)]
  })
}

function nodeText(node) {
  if (typeof node === 'string') return node
  return node.port === undefined ? inUrl(node.host) : `${inUrl(node.host)}:${node.port}`
}

module.exports = { readConnection }
