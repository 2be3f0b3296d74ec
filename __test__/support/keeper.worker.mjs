// A process that keeps slots after their release. On `use` it takes as many as it is told and gives them back; it says
// who was inside when, by the clock that all processes of the machine share, and what it has counted.
import { Limiter } from 'concurrency-limit'

const { url, config, many } = JSON.parse(process.argv[2])
const limiter = new Limiter(url)
limiter.on('error', () => {})

const now = () => Number(process.hrtime.bigint()) / 1e6

async function use() {
  const leases = await Promise.all(Array.from({ length: many }, () => limiter.acquire(config)))
  const from = now()
  const inside = leases.map((lease) => ({
    slot: lease.slot,
    token: lease.fencingToken,
    from,
    to: lease.lost ? from : now(),
  }))
  await Promise.all(leases.map((lease) => lease.release()))
  return inside
}

process.on('message', async (message) => {
  if (message === 'exit') process.exit(0)
  const inside = message === 'use' ? await use() : []
  process.send({ inside, stats: await limiter.stats() })
})
process.send('ready')
