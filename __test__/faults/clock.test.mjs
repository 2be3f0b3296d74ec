// Clocks that differ and clocks that step: Redis tells the time, so a client's clock changes nothing, and a step of the
// server's is survived as long as no lease is shorter than it. Needs libfaketime (Debian's package of this name, or
// FAKETIME_LIBRARY); without it these tests are skipped.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Limiter } from 'concurrency-limit'
import { describe, expect, test } from 'vitest'
import { startRedis, until } from '../helpers.mjs'
import { judge, startCrowd } from './crowd.mjs'

function faketime() {
  const places = ['/usr/lib', '/usr/lib64', '/usr/local/lib'].filter(existsSync)
  const folders = places.flatMap((place) => [place, ...readdirSync(place).map((name) => `${place}/${name}`)])
  const named = folders.map((folder) => `${folder}/faketime/libfaketimeMT.so.1`)
  return [process.env.FAKETIME_LIBRARY, ...named].find((path) => path && existsSync(path))
}

const library = faketime()
const preload = { LD_PRELOAD: library, FAKETIME_DONT_FAKE_MONOTONIC: '1' }

/** Whether the server can run under libfaketime: some allocators and it don't get on (Debian's Redis; Valkey does). */
function serverCanStep() {
  const { status, stderr } = spawnSync(process.env.REDIS_SERVER_BIN ?? 'redis-server', ['--version'], {
    env: { ...process.env, ...preload, FAKETIME: '+0s' },
    encoding: 'utf8',
    timeout: 5_000,
  })
  return status === 0 && !stderr.includes('libfaketime')
}

async function finished(processes) {
  for (const { errors, full, lost } of await Promise.all(processes.map((process) => process.finish()))) {
    expect({ errors, full, lost }).toEqual({ errors: [], full: 0, lost: 0 })
  }
}

describe.skipIf(library === undefined)('clocks', () => {
  test('a process whose clock is 30 s ahead is like any other', async () => {
    const server = await startRedis()
    const config = { key: 'clock', limit: 2, limitExpire: 1, limitTimeout: 20 }
    const crowd = startCrowd({ options: { url: server.url }, config, tasks: 4, work: [1, 30] })
    try {
      const env = { ...preload, FAKETIME: '+30s' }
      const processes = [crowd.join(), crowd.join({}, env), crowd.join({ work: [1500, 1500], tasks: 1 }, env)]
      const left = (pid) => crowd.events().some((event) => event.what === 'leave' && event.pid === pid)
      await until(() => processes.every(({ pid }) => left(pid)), 'all have had their turn')
      await finished(processes)
      expect(judge(crowd.events(), 2)).toEqual({ wrong: [], most: 2, left: 0 })
    } finally {
      crowd.end()
      await server.stop()
    }
  })

  test.skipIf(library !== undefined && !serverCanStep())(
    "the server's clock may step by a minute either way under load",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-clock-'))
      const clock = (offset) => writeFileSync(join(folder, 'offset'), offset)
      clock('+0s')
      const env = { ...preload, FAKETIME_TIMESTAMP_FILE: join(folder, 'offset'), FAKETIME_NO_CACHE: '1' }
      const server = await startRedis({ env })
      const witness = new Limiter(server.url)
      const config = { key: 'step', limit: 3, limitExpire: 300, limitTimeout: 60 }
      const crowd = startCrowd({ options: { url: server.url }, config, tasks: 10, work: [1, 20] })
      try {
        const processes = [crowd.join(), crowd.join()]
        const turns = () => crowd.events().filter(({ what }) => what === 'enter').length
        for (const offset of ['+0s', '+60s', '+0s', '-60s', '+0s']) {
          clock(offset)
          const before = turns()
          await until(() => turns() > before + 100, `served with the clock at ${offset}`, 30_000)
        }
        await finished(processes)
        expect(judge(crowd.events(), 3)).toEqual({ wrong: [], most: 3, left: 0 })
        expect(await witness.status('step')).toMatchObject({ held: 0, waiting: 0 })
      } finally {
        crowd.end()
        await witness.close()
        await server.stop()
        rmSync(folder, { recursive: true, force: true })
      }
    },
  )
})
