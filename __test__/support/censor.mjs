// A proxy as they are met in the field: it reads the commands that go to a real server and answers some of them itself,
// or hangs up on them.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

const SERVERS = Symbol('the answer of the server')
const PUSH = 62

/**
 * `{ port, url, seen, close() }` in front of `to`, a local port. `judge(name, words)` says what becomes of each
 * command, by its name in upper case: nothing, and it's passed on; a text, and that is the answer in RESP; `'hang up'`.
 * Each name comes into `seen`.
 */
export async function startCensor(to, judge) {
  const sockets = new Set()
  const seen = []

  const server = createServer((near) => {
    const far = connect({ port: to, host: '127.0.0.1' })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.setNoDelay(true).on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    // Answers go back in the order of the commands, each either the server's or one of our own.
    let bytes = Buffer.alloc(0)
    let answers = Buffer.alloc(0)
    const order = []
    const flush = () => {
      while (order.length > 0 && order[0] !== SERVERS) near.write(order.shift())
    }
    far.on('data', (data) => {
      answers = Buffer.concat([answers, data])
      for (let end = endOf(answers, 0); end > 0; end = endOf(answers, 0)) {
        near.write(answers.subarray(0, end))
        const isPush = answers[0] === PUSH && !/^>\d+\r\n\$9\r\nsubscribe/.test(answers.toString('latin1', 0, 40))
        if (!isPush) order.shift()
        answers = answers.subarray(end)
        flush()
      }
    })
    near.on('data', (data) => {
      bytes = Buffer.concat([bytes, data])
      for (let command = take(bytes); command !== undefined; command = take(bytes)) {
        bytes = command.rest
        const name = command.words[0].toUpperCase()
        seen.push(name)
        const verdict = judge(name, command.words)
        if (verdict === 'hang up') return near.destroy()
        order.push(verdict ?? SERVERS)
        if (verdict === undefined) far.write(command.bytes)
        flush()
      }
    })
  })

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    url: `redis://127.0.0.1:${server.address().port}`,
    seen,
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

/** The first whole command: `{ words, bytes, rest }`. */
function take(bytes) {
  const line = (from) => {
    const end = bytes.indexOf('\r\n', from)
    return end < 0 ? undefined : { text: bytes.toString('utf8', from, end), next: end + 2 }
  }
  const head = line(0)
  if (head === undefined) return undefined
  let { next } = head
  const words = []
  for (let left = Number(head.text.slice(1)); left > 0; left--) {
    const size = line(next)
    if (size === undefined) return undefined
    const length = Number(size.text.slice(1))
    if (bytes.length < size.next + length + 2) return undefined
    words.push(bytes.toString('utf8', size.next, size.next + length))
    next = size.next + length + 2
  }
  return { words, bytes: bytes.subarray(0, next), rest: bytes.subarray(next) }
}

/** Where the answer that begins at `at` ends; -1 if it isn't whole. */
function endOf(data, at) {
  const line = data.indexOf('\r\n', at)
  if (line < 0) return -1
  const kind = String.fromCharCode(data[at])
  const size = Number(data.toString('utf8', at + 1, line))
  let end = line + 2
  if ('$=!'.includes(kind) && size >= 0) end += size + 2
  let left = { '*': size, '~': size, '>': size, '%': 2 * size }[kind] ?? 0
  for (; left > 0 && end > 0; left--) end = endOf(data, end)
  return end <= data.length ? end : -1
}
