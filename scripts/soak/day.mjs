// One day from its morning to its end: `{ day, wrong, record }`, `wrong` being what broke a rule, each with its moment.
import { setTimeout as sleep } from 'node:timers/promises'
import { TIMES } from './draw.mjs'
import { runFault } from './faults.mjs'
import { judge } from './judge.mjs'
import { now } from './moment.mjs'
import { readRecord } from './record.mjs'
import { finish, leave, rest } from './rest.mjs'
import { World } from './world.mjs'

const CALM_MS = TIMES.loadEnds - TIMES.calmAt
// Faults have bounds of their own below this.
const FAULTS_END_MS = 25_000

async function torment(world, begun) {
  const each = world.day.faults.map(async (fault) => {
    await sleep(Math.max(0, begun + fault.at - now()))
    world.said.push({ at: now(), text: `fault: ${JSON.stringify(fault)}` })
    await runFault(world, fault).catch((error) =>
      world.said.push({ at: now(), text: `${fault.name}: ${error.message}` }),
    )
    world.said.push({ at: now(), text: `fault over: ${fault.name}` })
  })
  await Promise.race([Promise.all(each), sleep(FAULTS_END_MS, undefined, { ref: false })])
  await sleep(Math.max(0, begun + TIMES.calmAt - now()))
}

const named = (rule, at) => (text) => ({ rule, text, at, of: [] })

export async function liveThrough(day) {
  const world = await World.begin(day)
  world.said = []
  const wrong = []
  try {
    const begun = now()
    await torment(world, begun)
    await world.heal()
    const calmAt = now()
    await sleep(CALM_MS)
    const loadEndsAt = now()
    wrong.push(...(await finish(world)).map(named('every task ends its round', loadEndsAt)))
    const finishedAt = now()
    wrong.push(...(await rest(world)).map(named('everything comes to rest', finishedAt)))
    wrong.push(...(await leave(world)).map(named('limiters close and processes end', now())))
    const stops = [...world.workers.values()].flatMap(({ name, stops }) =>
      stops.map((stop) => ({ ...stop, worker: name, what: 'stopped' })),
    )
    const { troubles, promotions, said } = world
    const moments = { begun, settledAt: begun + 3_000, calmAt, loadEndsAt, finishedAt }
    const record = { day, troubles, promotions, said, stops, ...moments, ...readRecord(world) }
    wrong.push(...judge(record))
    return { day, wrong, record }
  } finally {
    await world.end()
  }
}
