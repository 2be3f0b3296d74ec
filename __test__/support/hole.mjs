// A black hole in front of a server: whoever connects is let in, and hears nothing. Or a long line: every byte takes
// its time.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/**
 * `{ port, opened(), fill(to), close() }`. As long as nothing is behind it nobody is answered. Once it's filled, new
 * connections go to `to`, a local port; those that were swallowed stay so. `swallows` are numbers of
 * connections, from 1, that are swallowed nevertheless; `delayMs` is what a byte takes, each way.
 */
export async function startHole({ to, swallows = [], delayMs = 0 } = {}) {
  const sockets = new Set()
  let behind = to
  let opened = 0

  const carry = (from, into) => {
    from.on('data', (data) => setTimeout(() => into.destroyed || into.write(data), delayMs))
    from.on('close', () => setTimeout(() => into.destroy(), delayMs))
  }

  const server = createServer((near) => {
    opened++
    const ends = behind === undefined || swallows.includes(opened) ? [near] : [near, connect(behind, '127.0.0.1')]
    for (const socket of ends) {
      sockets.add(socket)
      socket.setNoDelay(true).on('error', () => {})
      socket.on('close', () => sockets.delete(socket))
    }
    if (ends.length === 1) return near.resume()
    carry(ends[0], ends[1])
    carry(ends[1], ends[0])
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    /** How many connections there were. */
    opened: () => opened,
    fill(to) {
      behind = to
    },
    /** From now on new connections are swallowed, and those that there are, too: nobody is told. */
    empty() {
      behind = undefined
      for (const socket of sockets) socket.removeAllListeners('data').removeAllListeners('close').resume()
    },
    async close() {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}
