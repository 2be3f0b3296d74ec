'use strict'

// The place that a URL names, in parts. Only for URLs that the package has taken: it checks them, this reads them.

const PORTS = { server: 6379, cluster: 6379, sentinel: 26379 }
const NODE = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/

function nodeOf(text, port) {
  const [, bracketed, plain, given] = NODE.exec(text)
  return { host: bracketed ?? (plain || '127.0.0.1'), port: Number(given ?? port) }
}

/** `{ kind, secure, nodes, path, name, db, username, password }`; kind is server, unix, sentinel or cluster. */
function placeOf(url) {
  const [, scheme, authority, path, query] = /^([^:]+):\/\/([^/?]*)([^?]*)\??(.*)$/s.exec(url)
  const [base, plus] = scheme.toLowerCase().split('+')
  const kind = base === 'unix' || plus === 'unix' ? 'unix' : (plus ?? 'server')
  const at = authority.lastIndexOf('@')
  const [user, ...secret] = at < 0 ? [''] : authority.slice(0, at).split(':')
  const parameters = new Map(query.split('&').map((pair) => pair.split('=')))
  const said = (...names) => names.map((name) => parameters.get(name)).find((value) => value !== undefined)
  const [name, tail] = kind === 'sentinel' ? path.slice(1).split('/') : [undefined, path.slice(1)]
  const password = said('pass', 'password') ?? (secret.length > 0 ? secret.join(':') : undefined)
  return {
    kind,
    secure: base === 'rediss' || base === 'valkeys',
    nodes:
      kind === 'unix'
        ? []
        : authority
            .slice(at + 1)
            .split(',')
            .map((text) => nodeOf(text, PORTS[kind])),
    path: kind === 'unix' ? decodeURIComponent(path) : undefined,
    name: name && decodeURIComponent(name),
    db: Number(said('db') ?? (kind === 'unix' ? 0 : tail || 0)),
    username: decodeURIComponent(said('user', 'username') ?? user) || undefined,
    password: password === undefined ? undefined : decodeURIComponent(password),
  }
}

module.exports = { placeOf }
