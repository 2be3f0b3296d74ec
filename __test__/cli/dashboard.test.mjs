// dashboard: what it serves, to whom, and who may free a slot. What a browser makes of it: __test__/browser/.
import { connect } from 'node:net'
import { Limiter } from 'concurrency-limit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cli, startCli } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { until } from '../support/helpers.mjs'

const server = useRedis()
let env
let limiter
let lease
const running = []
beforeAll(async () => {
  env = { REDIS_URL: server.url }
  limiter = new Limiter(server.url)
  lease = await limiter.acquire({ key: 'seen', limit: 4, label: 'a job' })
})
afterAll(async () => {
  for (const { child, ended } of running) {
    child.kill('SIGKILL')
    await ended
  }
  await limiter?.close()
})

/** Starts one: `{ url, origin, host, token, … }` with what startCli gives. */
async function serve(...args) {
  const started = startCli(['dashboard', '--json', '--interval', '0.2', ...args], { env, bound: 60_000 })
  running.push(started)
  await until(() => started.output.stdout.includes('\n'), 'it tells its URL')
  const url = new URL(JSON.parse(started.output.stdout).url)
  const token = new URLSearchParams(url.hash.slice(1)).get('token')
  return { ...started, url, token, origin: url.origin, host: url.host, port: Number(url.port) }
}

/** A raw request, since fetch doesn't let a Host header be chosen: the head and body of the answer. */
async function raw({ port }, lines, body = '') {
  const socket = connect(port, '127.0.0.1')
  socket.write(
    `${lines.join('\r\n')}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  )
  let text = ''
  for await (const chunk of socket.setEncoding('utf8')) text += chunk
  return { status: Number(text.split(' ')[1]), text }
}

const free = (page, headers, body = { key: 'seen', leaseId: lease.leaseId }) =>
  raw(
    page,
    ['POST /api/release HTTP/1.1', ...Object.entries({ Host: page.host, ...headers }).map((pair) => pair.join(': '))],
    typeof body === 'string' ? body : JSON.stringify(body),
  )

describe('what it serves', () => {
  let page
  beforeAll(async () => {
    page = await serve()
  })

  test('the page and its parts, under a policy that lets in nothing from elsewhere', async () => {
    for (const [path, type] of [
      ['/', 'text/html'],
      ['/page.css', 'text/css'],
      ['/page.js', 'text/javascript'],
    ]) {
      const response = await fetch(page.origin + path)
      expect(response.status).toBe(200)
      expect(response.headers.get('content-type')).toContain(type)
      expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self'; /)
      expect(response.headers.get('access-control-allow-origin')).toBeNull()
      expect(await response.text()).not.toMatch(/https?:\/\/(?!www\.w3\.org)/)
    }
    for (const path of ['/nothing', '/../index.js', '/__proto__', '/server.js']) {
      expect((await fetch(page.origin + path)).status).toBe(404)
    }
    expect((await fetch(page.origin, { method: 'POST' })).status).toBe(405)
  })

  test('the groups with who holds, and their use over time', async () => {
    const read = async () => (await fetch(`${page.origin}/api/groups`)).json()
    const looked = until(async () => (await read()).groups[0].history.held.length >= 3, 'it looks again and again')
    await looked
    const { groups, mayRelease, error, where } = await read()
    expect({ mayRelease, error, where }).toEqual({ mayRelease: false, error: null, where: `127.0.0.1:${server.port}` })
    expect(groups).toMatchObject([
      { key: 'seen', held: 1, limit: 4, holders: [{ leaseId: lease.leaseId, label: 'a job' }] },
    ])
    expect(groups[0].history.held.every((held) => held === 1)).toBe(true)
  })

  test('only on loopback, and only under its own names', async () => {
    for (const [host, status] of [
      [page.host, 200],
      [`localhost:${page.port}`, 200],
      ['evil.example', 403],
      [`evil.example:${page.port}`, 403],
      [`127.0.0.1:${page.port + 1}`, 403],
      [`127.0.0.1.evil.example:${page.port}`, 403],
    ]) {
      expect((await raw(page, ['GET /api/groups HTTP/1.1', `Host: ${host}`])).status).toBe(status)
    }
  })

  test('nothing is freed without --allow-release', async () => {
    expect(page.url.hash).toBe('')
    const { status, text } = await free(page, { Origin: page.origin, Authorization: 'Bearer undefined' })
    expect({ status, text }).toMatchObject({ status: 403, text: expect.stringContaining('--allow-release') })
    expect(lease.lost).toBe(false)
    expect((await limiter.status('seen')).held).toBe(1)
  })
})

test('with --allow-release a slot is freed for who has the token, and from the page itself alone', async () => {
  const page = await serve('--allow-release')
  expect(page.token).toMatch(/^[\w-]{32}$/)
  const good = { Origin: page.origin, Authorization: `Bearer ${page.token}` }
  for (const headers of [
    { Origin: page.origin },
    { Authorization: good.Authorization },
    { ...good, Origin: 'http://evil.example' },
    { ...good, Origin: 'null' },
    { ...good, Authorization: `Bearer ${page.token}x` },
    { ...good, Host: `evil.example:${page.port}`, Origin: `http://evil.example:${page.port}` },
  ]) {
    expect((await free(page, headers)).status).toBe(403)
  }
  expect((await free(page, good, 'x'.repeat(5000))).status).toBe(413)
  expect((await free(page, good, 'no JSON')).status).toBe(400)
  expect((await free(page, good, { key: 'seen', leaseId: 'x' })).status).toBe(400)
  expect((await free(page, good, 'null')).status).toBe(400)
  expect((await limiter.status('seen')).held).toBe(1)
  expect((await free(page, good)).text).toContain('{"released":true}')
  expect((await free(page, good)).text).toContain('{"released":false}')
  expect((await limiter.status('seen')).held).toBe(0)
})

test('a signal ends it, an open connection or not; a port that is taken is an error', async () => {
  const page = await serve()
  const socket = connect(page.port, '127.0.0.1')
  await new Promise((resolve) => socket.once('connect', resolve))
  const second = await cli(['dashboard', '--port', String(page.port)], { env })
  expect(second).toMatchObject({ code: 64, stdout: '', stderr: expect.stringContaining('--port: listen EADDRINUSE') })
  page.child.kill('SIGTERM')
  expect(await page.ended).toMatchObject({ code: 143 })
  socket.destroy()
})
