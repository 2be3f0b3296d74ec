// What tests of processes that share a key judge them by: the clock of the machine, and what reaches them.
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { expect } from 'vitest'

export const now = () => Number(process.hrtime.bigint()) / 1e6

/** Nobody was inside a slot while somebody else was, and its tokens grew. */
export function expectNoneTogether(all) {
  for (const slot of new Set(all.map((one) => one.slot))) {
    const ofSlot = all.filter((one) => one.slot === slot).sort((a, b) => a.from - b.from)
    for (let i = 1; i < ofSlot.length; i++) {
      const [before, one] = [ofSlot[i - 1], ofSlot[i]]
      if (one.from < before.to || one.token <= before.token) expect.fail(JSON.stringify({ slot, before, one }))
    }
  }
}

/** A way to the server at `port` on which no process hears that its note is wanted. */
export async function withoutWanted(port) {
  const proxy = createServer((near) => {
    const far = connect(port, '127.0.0.1')
    near.pipe(far)
    // What a process can't read says nothing to it.
    far.on('data', (data) =>
      near.write(Buffer.from(data.toString('latin1').replaceAll(' wanted ', ' wantex '), 'latin1')),
    )
    for (const socket of [near, far])
      socket.on('error', () => {}).on('close', () => [near, far].map((it) => it.destroy()))
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return { url: `redis://127.0.0.1:${proxy.address().port}`, close: () => proxy.close() }
}
