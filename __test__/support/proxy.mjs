// A stretch of bad network: a TCP proxy in front of a server that can cut, hold up, deafen and half-close what goes
// through it.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'

/** `{ port, cut(), forget(), stall(ms), deafen(ms), halfClose(), close() }` in front of `to`, a local port. */
export async function startProxy(to) {
  const pairs = new Set()
  let isDeaf = false

  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: to, host: '127.0.0.1', allowHalfOpen: true })
    const pair = [near, far]
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      for (const socket of pair) socket.destroy()
    }
    near.on('data', (data) => far.write(data))
    far.on('data', (data) => isDeaf || near.write(data))
    near.on('end', () => far.end())
    far.on('end', () => near.end())
    for (const socket of pair) socket.setNoDelay(true).on('error', end).on('close', end)
  })

  const cut = () => {
    for (const [near] of pairs) near.destroy()
  }

  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: server.address().port,
    /** Ends every connection. */
    cut,
    /** Passes nothing on any more on the connections that there are, and ends none of them. */
    forget() {
      for (const socket of [...pairs].flat()) socket.removeAllListeners('data').pause()
    },
    /** Holds everything up that is under way, both ways. */
    stall(ms) {
      const stalled = [...pairs].flat()
      for (const socket of stalled) socket.pause()
      setTimeout(() => {
        for (const socket of stalled) socket.resume()
      }, ms)
    },
    /** Calls arrive and are carried out, answers are lost; then the connections end. */
    deafen(ms) {
      isDeaf = true
      setTimeout(() => {
        isDeaf = false
        cut()
      }, ms)
    },
    /** The clients hear that the server has ended; what they send still arrives. */
    halfClose() {
      for (const [near] of pairs) near.end()
    },
    async close() {
      server.close()
      cut()
      await once(server, 'close')
    },
  }
}
