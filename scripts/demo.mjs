// `npm run demo`: makes a fresh clone ready, then shows the demo.
import { binding, dependencies } from './prepare.mjs'

await dependencies()
await binding()
await import('../demo/main.mjs')
