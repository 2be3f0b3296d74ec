// A delaying proxy: `fork('proxy.mjs', [port, delayMs])` sends the port that it listens on. Every piece of data, and
// the end of a connection, is passed on in order, `delayMs` after it came, each way.
//
// Timers count whole milliseconds; so while something is under way the loop turns without a pause, and that costs a
// core.
import { connect, createServer } from 'node:net'
import { now } from './measure.mjs'

const [port, delayMs] = process.argv.slice(2).map(Number)
const underWay = [] // in order of time, since all wait equally long
let turning = false

function turn() {
  while (underWay.length > 0 && underWay[0].at <= now()) {
    const { to, data } = underWay.shift()
    if (to.destroyed) continue
    if (data) to.write(data)
    else to.end()
  }
  turning = underWay.length > 0
  if (turning) setImmediate(turn)
}

function delay(to, data) {
  underWay.push({ at: now() + delayMs, to, data })
  if (!turning) turn()
}

function pass(from, to) {
  from.setNoDelay(true)
  from.on('data', (data) => delay(to, data))
  from.on('error', () => {})
  from.on('close', () => delay(to)) // after all that came before
}

const server = createServer((client) => {
  const redis = connect(port, '127.0.0.1')
  pass(client, redis)
  pass(redis, client)
})
server.listen(0, '127.0.0.1', () => process.send(server.address().port))
process.on('disconnect', () => process.exit(0))
