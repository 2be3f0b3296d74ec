// The page: asks for the figures every few seconds and draws them. Texts are only ever set as text, never as HTML.

const token = new URLSearchParams(location.hash.slice(1)).get('token')
const SVG = 'http://www.w3.org/2000/svg'
const [CHART_WIDTH, CHART_HEIGHT] = [200, 40]
const byId = (id) => document.getElementById(id)
const cards = new Map() // key → its elements
let figures = { groups: [], interval: 2 }

/** An element of these classes with these children. */
function make(tag, className, ...children) {
  const element = document.createElement(tag)
  if (className) element.className = className
  element.append(...children)
  return element
}

function duration(seconds) {
  if (seconds < 10) return `${Number(seconds.toFixed(1))} s`
  const whole = Math.floor(seconds)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${whole % 60}s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h ${Math.floor((whole % 3600) / 60)}m`
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3600)}h`
}

const useOf = ({ held, limit }) => (limit > 0 ? Math.min(1, held / limit) : Number(held > 0))

function drawBar(card, group) {
  card.fill.style.width = `${useOf(group) * 100}%`
  card.details.classList.toggle('full', useOf(group) === 1)
}

/** Points of a line over the last looks, the newest at the right. */
function points(values, top) {
  const step = values.length > 1 ? CHART_WIDTH / (values.length - 1) : CHART_WIDTH
  return values.map((value, i) => [i * step, CHART_HEIGHT - 1 - (value / top) * (CHART_HEIGHT - 3)])
}

const pathOf = (all) => all.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`).join('')

function makeTrend() {
  const svg = document.createElementNS(SVG, 'svg')
  svg.setAttribute('viewBox', `0 0 ${CHART_WIDTH} ${CHART_HEIGHT}`)
  svg.setAttribute('preserveAspectRatio', 'none')
  svg.setAttribute('role', 'img')
  const lines = {}
  for (const name of ['held', 'limit', 'waiting']) {
    lines[name] = document.createElementNS(SVG, 'path')
    lines[name].setAttribute('class', name)
    svg.append(lines[name])
  }
  return { svg, lines }
}

function drawTrend({ svg, lines }, { history, limit, held, waiting }) {
  const top = Math.max(1, limit, ...history.held, ...history.waiting)
  const area = points(history.held, top)
  const [first] = area
  const closed = first === undefined ? '' : `L${area.at(-1)[0].toFixed(1)} ${CHART_HEIGHT}L${first[0]} ${CHART_HEIGHT}Z`
  lines.held.setAttribute('d', pathOf(area) + closed)
  lines.limit.setAttribute('d', pathOf(points([limit, limit], top)))
  lines.waiting.setAttribute(
    'd',
    history.waiting.some((count) => count > 0) ? pathOf(points(history.waiting, top)) : '',
  )
  svg.setAttribute('aria-label', `over time: now ${held} of ${limit} held, ${waiting} waiting`)
}

function makeCard(key) {
  const [fill, held, waiting, wait] = [make('i'), make('span'), make('span'), make('span', 'wait')]
  const [trend, people] = [makeTrend(), make('div', 'people')]
  const summary = make('summary', '', make('span', 'key', key), make('div', 'bar', fill), held, waiting, wait)
  summary.append(make('div', 'trend', trend.svg))
  const details = make('details', 'group', summary, people)
  details.addEventListener('toggle', draw)
  return { details, fill, held, waiting, wait, trend, people }
}

const slotsOf = (slots) => {
  const isRun = slots.length > 1 && slots.at(-1) - slots[0] === slots.length - 1
  return isRun ? `${slots[0]}–${slots.at(-1)}` : slots.join(', ')
}

const mayFree = () => figures.mayRelease && token !== null

const cell = (content, className) => make('td', className, content)

function tableOf(title, heads, rows) {
  const table = make('table', '', make('caption', '', title))
  table.createTHead().append(make('tr', '', ...heads.map((head) => make('th', '', head))))
  table.createTBody().append(...rows.map((cells) => make('tr', '', ...cells)))
  return table
}

/** The process of a holder or waiter, as far as it tells. */
const processOf = ({ host, pid, program }) => (pid === null ? '–' : `${program ?? ''} ${host ?? '?'}:${pid}`.trim())

const namesOf = (person) => [
  ...[cell(person.label || '–', 'text'), cell(person.holder ?? '–', 'text')],
  ...[cell(processOf(person), 'text'), cell(person.leaseId)],
]

const NAME_HEADS = ['Label', 'Holder', 'Process', 'Lease']

function holderRow(key, holder) {
  const times = [cell(slotsOf(holder.slots)), cell(duration(holder.heldFor)), cell(duration(holder.endsIn))]
  const names = namesOf(holder)
  if (!mayFree()) return [...times, ...names]
  const button = make('button', 'danger', 'Free')
  button.addEventListener('click', () => free(key, holder))
  return [...times, cell(button), ...names]
}

const waiterRow = (waiter) => [
  ...[cell(duration(waiter.waited)), cell(`${waiter.weight} of ${waiter.limit}`), cell(String(waiter.priority))],
  ...namesOf(waiter),
]

function drawPeople(people, group) {
  const tables = []
  const heads = ['Slot', 'Held for', 'Ends in', ...(mayFree() ? [''] : []), ...NAME_HEADS]
  if (group.holders.length > 0) {
    const rows = group.holders.map((holder) => holderRow(group.key, holder))
    tables.push(tableOf('Holders', heads, rows))
  }
  if (group.waiters.length > 0) {
    const rows = group.waiters.map(waiterRow)
    tables.push(tableOf('In line', ['Waits for', 'Wants', 'Priority', ...NAME_HEADS], rows))
  }
  people.replaceChildren(...(tables.length > 0 ? tables : ['nobody holds and nobody waits']))
}

function drawCard(card, group) {
  if (group.error !== undefined) {
    card.held.textContent = group.error
    card.held.className = 'bad'
    return
  }
  const { held, limit, waiting, oldestWait } = group
  drawBar(card, group)
  card.held.textContent = `${held} / ${limit || '?'}`
  card.waiting.textContent = `${waiting} waiting`
  card.waiting.className = waiting > 0 ? 'busy' : 'quiet'
  card.wait.textContent = oldestWait === null ? '' : `longest ${duration(oldestWait)}`
  drawTrend(card.trend, group)
  // A button that is about to be pressed stays where it is.
  if (card.details.open && !card.people.contains(document.activeElement)) drawPeople(card.people, group)
}

function shown() {
  const [word, sort] = [byId('filter').value.toLowerCase(), byId('sort').value]
  const weigh = { use: useOf, key: () => 0 }[sort] ?? ((group) => group[sort] ?? -1)
  const chosen = figures.groups.filter(({ key }) => key.toLowerCase().includes(word))
  return chosen.sort((a, b) => weigh(b) - weigh(a) || (a.key < b.key ? -1 : 1))
}

function drawTotals() {
  const sum = (name) => figures.groups.reduce((total, group) => total + (group[name] ?? 0), 0)
  const waits = figures.groups.map(({ oldestWait }) => oldestWait ?? 0)
  const longest = Math.max(0, ...waits)
  const totals = { groups: figures.groups.length, held: sum('held'), waiting: sum('waiting') }
  totals.oldestWait = longest > 0 ? duration(longest) : '–'
  for (const element of document.querySelectorAll('[data-total]')) {
    element.textContent = totals[element.dataset.total]
  }
}

function draw() {
  const groups = shown()
  for (const { key } of groups) if (!cards.has(key)) cards.set(key, makeCard(key))
  for (const group of groups) drawCard(cards.get(group.key), group)
  const wanted = groups.map(({ key }) => cards.get(key).details)
  const list = byId('groups')
  // Moving an element drops its focus, so only what stands elsewhere is moved.
  wanted.forEach((element, i) => {
    if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null)
  })
  while (list.children.length > wanted.length) list.lastChild.remove()
  const known = new Set(figures.groups.map(({ key }) => key))
  for (const key of cards.keys()) if (!known.has(key)) cards.delete(key)
  byId('empty').hidden = groups.length > 0
  byId('empty').textContent = figures.groups.length > 0 ? 'no key has that in it' : 'there are no groups'
  drawTotals()
}

function tell(text, isBad) {
  byId('state').textContent = text
  byId('state').className = isBad ? 'bad' : ''
}

async function ask(path, options) {
  const response = await fetch(path, options)
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.error)
  return answer
}

async function look() {
  try {
    figures = await ask('/api/groups')
    byId('where').textContent = figures.where
    const more = figures.more ? ', not all of them: start it with a pattern' : ''
    const at = new Date(figures.at).toLocaleTimeString()
    tell(figures.error ?? `as of ${at}${more}`, figures.error !== null)
    draw()
  } catch (error) {
    tell(`no answer: ${error.message}`, true)
  }
}

async function free(key, { slots, leaseId, heldFor, ...person }) {
  const names = [person.label, person.pid !== null && processOf(person)].filter(Boolean)
  const who = names.length > 0 ? ` (${names.join(', ')})` : ''
  const question = `Free slot ${slotsOf(slots)} of ${key}${who}, held for ${duration(heldFor)}? Its work may still run.`
  byId('question').textContent = question
  byId('ask').returnValue = 'no'
  byId('ask').showModal()
  await new Promise((resolve) => byId('ask').addEventListener('close', resolve, { once: true }))
  if (byId('ask').returnValue !== 'yes') return
  try {
    const headers = { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` }
    const body = JSON.stringify({ key, leaseId })
    const { released } = await ask('/api/release', { method: 'POST', headers, body })
    document.activeElement.blur()
    await look()
    tell(released ? `freed slot ${slotsOf(slots)} of ${key}` : 'that lease had ended already', false)
  } catch (error) {
    tell(error.message, true)
  }
}

async function goOn() {
  for (;;) {
    if (!document.hidden) await look()
    await new Promise((resolve) => setTimeout(resolve, figures.interval * 1000))
  }
}

byId('filter').addEventListener('input', draw)
byId('sort').addEventListener('change', draw)
byId('choose').addEventListener('submit', (event) => event.preventDefault())
document.addEventListener('visibilitychange', () => document.hidden || look())
goOn()
