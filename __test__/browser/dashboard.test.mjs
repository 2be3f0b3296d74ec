// The dashboard's page in a real browser: what it shows of other processes, how a slot is freed, and that it fits a
// phone and a dark screen. Screenshots are left in artifacts/dashboard/ to be looked at.
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Limiter } from 'concurrency-limit'
import { chromium } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { startCli } from '../support/cli.mjs'
import { useRedis } from '../support/fixtures.mjs'
import { startProcess, until } from '../support/helpers.mjs'

const SHOTS = fileURLToPath(new URL('../../artifacts/dashboard/', import.meta.url))
const EVIL = '<img src=x onerror="document.title=1">'

const server = useRedis()
let limiter
let other
let dashboard
let browser
let url
beforeAll(async () => {
  mkdirSync(SHOTS, { recursive: true })
  limiter = new Limiter(server.url)
  other = startProcess({ url: server.url })
  for (let i = 0; i < 3; i++) await other.call('acquire', { key: 'payments', limit: 10, label: `order ${i}` })
  await other.call('acquire', { key: 'render', limit: 2, weight: 2, label: EVIL, holder: 'the big one' })
  await other.call('wait', { key: 'render', limit: 2, limitTimeout: 600, label: 'small' }, 3)
  const env = { REDIS_URL: server.url }
  dashboard = startCli(['dashboard', '--json', '--interval', '0.3', '--allow-release'], { env, bound: 120_000 })
  await until(() => dashboard.output.stdout.includes('\n'), 'it tells its URL')
  url = JSON.parse(dashboard.output.stdout).url
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox'] })
}, 60_000)
afterAll(async () => {
  await browser?.close()
  dashboard?.child.kill('SIGTERM')
  await dashboard?.ended
  await limiter?.close()
  other?.kill('SIGKILL')
  await other?.ended
})

let context
afterEach(() => context?.close())

/**
 * Opens the page; what a browser complains of (errors, the policy) and what it asks of elsewhere is kept in `faults`.
 */
async function open(options = {}, address = url) {
  context = await browser.newContext({ viewport: { width: 1100, height: 800 }, ...options })
  const page = await context.newPage()
  const faults = []
  page.on('pageerror', (error) => faults.push(error.message))
  page.on('console', (message) => message.type() === 'error' && faults.push(message.text()))
  page.on('request', (request) => request.url().startsWith(new URL(url).origin) || faults.push(request.url()))
  await page.goto(address)
  await page.getByText('payments').waitFor()
  return { page, faults }
}

const group = (page, key) => page.locator('.group', { has: page.locator('.key', { hasText: key }) })

test('it shows the groups, follows what changes, and takes no text for HTML', async () => {
  const { page, faults } = await open()
  await group(page, 'payments').getByText('3 / 10').waitFor()
  await group(page, 'render').getByText('3 waiting').waitFor()
  await limiter.withLimit({ key: 'payments', limit: 10 }, () => group(page, 'payments').getByText('4 / 10').waitFor())
  await group(page, 'render').locator('summary').click()
  await page.getByText(EVIL).waitFor()
  await page.getByText('the big one').waitFor()
  expect(await group(page, 'render').locator('table').nth(1).locator('tbody tr').count()).toBe(3)
  expect(await page.title()).toBe('concurrency-limit')
  await page.getByLabel('Filter').fill('pay')
  await until(async () => (await page.locator('.group').count()) === 1, 'the filter chooses')
  expect(faults).toEqual([])
})

test('a slot is freed after a question, and not without a yes', async () => {
  const { page, faults } = await open()
  await group(page, 'payments').locator('summary').click()
  const row = page.locator('tr', { hasText: 'order 1' })
  await row.getByRole('button', { name: 'Free' }).click()
  await page.getByText(/Free slot 2 of payments \(order 1, worker\.mjs \S+\), held for .*\?/).waitFor()
  await page.getByRole('button', { name: 'Keep it' }).click()
  expect((await limiter.status('payments')).held).toBe(3)
  await row.getByRole('button', { name: 'Free' }).click()
  await page.getByRole('button', { name: 'Free the slot' }).click()
  await page.getByText('freed slot 2 of payments').waitFor()
  expect((await limiter.status('payments')).held).toBe(2)
  await group(page, 'payments').getByText('2 / 10').waitFor()
  await row.waitFor({ state: 'detached' })
  expect(faults).toEqual([])
})

test('without the token in the URL nothing can be freed', async () => {
  const { page } = await open({}, url.split('#')[0])
  await group(page, 'payments').locator('summary').click()
  await page.locator('tr', { hasText: 'order 0' }).waitFor()
  expect(await page.getByRole('button', { name: 'Free' }).count()).toBe(0)
})

test.each([
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['phone', { colorScheme: 'light', viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 }],
  ['phone-dark', { colorScheme: 'dark', viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 }],
])('it fits a %s screen', async (name, options) => {
  const { page, faults } = await open(options)
  for (const key of ['payments', 'render']) await group(page, key).locator('summary').click()
  await page.getByText('the big one').waitFor()
  const { wide, colours } = await page.evaluate(() => {
    const { color, backgroundColor } = getComputedStyle(document.body)
    return { wide: document.documentElement.scrollWidth - innerWidth, colours: [color, backgroundColor] }
  })
  expect(wide).toBeLessThanOrEqual(0)
  const [text, back] = colours.map((colour) => colour.match(/\d+/g).reduce((sum, part) => sum + Number(part), 0))
  if (options.colorScheme === 'dark') expect(text - back).toBeGreaterThan(400)
  else expect(back - text).toBeGreaterThan(400)
  await page.screenshot({ path: `${SHOTS}${name}.png`, fullPage: true })
  expect(faults).toEqual([])
})
