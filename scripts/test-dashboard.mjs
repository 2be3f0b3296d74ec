// `npm run test:dashboard`: the page of the dashboard in a headless Chromium. Not part of `npm test`, since a browser
// takes longer to install than all else; CHROMIUM names one, or it is looked for, or Debian's is installed.
import { binding, dependencies, onPath, redisServer } from './prepare.mjs'
import { run, runAll, timed } from './step.mjs'

const find = () => process.env.CHROMIUM ?? ['chromium', 'chromium-browser', 'google-chrome'].map(onPath).find(Boolean)

await dependencies()
await binding()
await redisServer()
if (!find() && onPath('apt-get')) {
  const apt = (...args) => run('env', ['DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q', ...args], { minutes: 10 })
  await timed('install chromium', async () => {
    await apt('update')
    await apt('install', '-y', '--no-install-recommends', 'chromium')
  })
}
const CHROMIUM = find()
if (!CHROMIUM) {
  console.error('chromium was not found and could not be installed. Install it, or set CHROMIUM to its path.')
  process.exit(1)
}
const args = ['--no-install', 'vitest', 'run', '__test__/browser']
await runAll([['tests of the dashboard', 'npx', args, { env: { CHROMIUM } }]])
