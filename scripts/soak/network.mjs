// The network of a day: in front of every server stands a gate, a TCP proxy through which everybody else reaches it.
// Who is at the other end of a connection is told by its process, so that anybody can be parted from anybody.
//
// Parted means what it means between machines: nothing arrives, no end of a connection either, and connecting hangs.
// What was under way arrives late when they are joined again, or never where the connections were forgotten meanwhile.
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { connect, createServer } from 'node:net'

/** The inode of the socket on this machine that goes from port `from` to port `to`. */
function inodeOf(from, to) {
  const hex = (port) => port.toString(16).toUpperCase().padStart(4, '0')
  const ends = `:${hex(from)} 0100007F:${hex(to)} `
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find((text) => text.includes(ends))
  return line?.trim().split(/\s+/)[9]
}

function hasSocket(pid, inode) {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`
      } catch {
        return false // closed meanwhile
      }
    })
  } catch {
    return false // it has ended
  }
}

/** One direction of a connection: what goes in comes out in order, when it's due and nothing stands between. */
class Lane {
  #queue = []
  #timer
  #link
  #out

  constructor(link, out) {
    this.#link = link
    this.#out = out
  }

  put(act, lagMs) {
    this.#queue.push({ act, dueAt: performance.now() + lagMs })
    this.pump()
  }

  pump() {
    clearTimeout(this.#timer)
    while (this.#queue.length > 0 && !this.#link.isBlocked()) {
      const wait = this.#queue[0].dueAt - performance.now()
      if (wait > 0.5) {
        this.#timer = setTimeout(() => this.pump(), wait)
        return
      }
      this.#queue.shift().act(this.#out)
    }
  }
}

export class Network {
  #names = new Map()
  #links = new Set()
  #gates = []
  #parts = new Set()
  #lags = new Set()

  /** The process belongs to the machine of this name from now on. */
  know(pid, name) {
    this.#names.set(pid, name)
  }

  /** The process has ended. */
  forget(pid) {
    this.#names.delete(pid)
  }

  /** Ends all processes that are known at once: for when this one is ended in the middle of a day. */
  endAll() {
    for (const pid of this.#names.keys()) process.kill(pid, 'SIGKILL')
  }

  #whoIs(from, to) {
    const inode = inodeOf(from, to)
    if (inode === undefined) return undefined
    for (const [pid, name] of this.#names) if (hasSocket(pid, inode)) return name
    return undefined
  }

  /** A gate in front of the server of this name: `{ port, lead(port) }`; it leads nowhere until it is told a port. */
  async gate(name) {
    let target
    const server = createServer({ allowHalfOpen: true }, (near) =>
      this.#join(near, name, server.address().port, target),
    )
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    this.#gates.push(server)
    const lead = (port) => {
      target = port
    }
    return { port: server.address().port, lead }
  }

  #join(near, server, gate, target) {
    const far = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true })
    const client = this.#whoIs(near.remotePort, gate)
    const link = { ends: [client, server], sockets: [near, far], isForgotten: false }
    link.isBlocked = () => link.isForgotten || this.#areApart(...link.ends)
    const lanes = [new Lane(link, far), new Lane(link, near)]
    link.pump = () => {
      for (const lane of lanes) lane.pump()
    }
    this.#links.add(link)
    const drop = () => {
      this.#links.delete(link)
      for (const socket of link.sockets) socket.destroy()
    }
    link.drop = drop
    for (const [i, socket] of link.sockets.entries()) {
      socket.setNoDelay(true)
      socket.on('data', (data) => lanes[i].put((out) => out.writable && out.write(data), this.#lagOf(link)))
      socket.on('end', () => lanes[i].put((out) => out.end(), this.#lagOf(link)))
      socket.on('error', () => {})
      socket.on('close', () => lanes[i].put(drop, this.#lagOf(link)))
    }
  }

  #areApart(one, other) {
    for (const { names } of this.#parts) if (one !== undefined && names.has(one) !== names.has(other)) return true
    return false
  }

  #lagOf({ ends }) {
    let most = 0
    for (const { names, ms } of this.#lags) if (ends.some((name) => names.has(name))) most = Math.max(most, ms)
    return most
  }

  /** Parts these machines from all others; gives what joins them again. Connections that are forgotten stay dead. */
  part(names, { forget = false } = {}) {
    const part = { names: new Set(names) }
    this.#parts.add(part)
    if (forget) for (const link of this.#links) if (this.#areApart(...link.ends)) link.isForgotten = true
    return () => {
      this.#parts.delete(part)
      for (const link of this.#links) link.pump()
    }
  }

  /** What goes to or from these machines comes so much later; gives what ends that. */
  delay(names, ms) {
    const lag = { names: new Set(names), ms }
    this.#lags.add(lag)
    return () => this.#lags.delete(lag)
  }

  /** Ends all connections to or from these machines. */
  cut(names) {
    for (const link of this.#links) if (link.ends.some((name) => names.includes(name))) link.drop()
  }

  async close() {
    for (const gate of this.#gates) gate.close()
    for (const link of this.#links) link.drop()
    await Promise.all(this.#gates.map((gate) => gate.listening && once(gate, 'close')))
  }
}
