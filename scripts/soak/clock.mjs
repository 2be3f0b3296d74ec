// The clocks of a day: one that the server has, and that steps when it's told to, and one that is ahead. Both by
// libfaketime; monotonic clocks stay the machine's. Where that, or a server that runs under it, can't be had all clocks
// are the machine's.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { faketime, valkey } from '../servers.mjs'

const AHEAD_S = 30

/** `{ server, worker, step(seconds), end() }`: what the server and a worker are started with. */
export async function startClock() {
  const [library, binary] = [await faketime(), await valkey()]
  if (library === null || binary === null) return { server: {}, worker: {}, step() {}, end() {} }
  const folder = mkdtempSync(join(tmpdir(), 'concurrency-limit-soak-clock-'))
  const file = join(folder, 'offset')
  let offset = 0
  const set = () => writeFileSync(file, `${offset < 0 ? '' : '+'}${offset}s`)
  set()
  const preload = { LD_PRELOAD: library, FAKETIME_DONT_FAKE_MONOTONIC: '1' }
  return {
    server: { binary, env: { ...preload, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: '1' } },
    worker: { ...preload, FAKETIME: `+${AHEAD_S}s` },
    step(seconds) {
      offset += seconds
      set()
    },
    end: () => rmSync(folder, { recursive: true, force: true }),
  }
}
