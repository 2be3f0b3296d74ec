// Mutations of the core: each breaks one rule in one place, and some test must notice.
//
// `text` is in `file` exactly once, which a test of the package holds, so that the list doesn't rot when the source
// changes. `tests` are tried in turn until one fails, each as `target: filter`, where the target is `lib` or a file of
// `crates/core/tests`.

const GROUP = 'crates/core/src/group/note.rs'
const LIBRARY = 'crates/core/lua/note.lua'
const SOLE = 'crates/core/src/session/group_state/sole.rs'
const PASSING = 'crates/core/src/session/group_state/passing.rs'
const SLOTS = 'crates/core/src/session/group_state/slots.rs'
const ANSWERS = 'crates/core/src/session/group_state/outcomes.rs'
const REQUESTS = 'crates/core/src/session/group_state/requests.rs'
const ACQUISITION = 'crates/core/src/session/group_state/members/acquisition.rs'
const SEND = 'crates/core/src/session/group_state/send.rs'

const NOTES = 'lib: group::tests::notes'
const SESSION = 'lib: session::tests::passing'
const KEEPING = 'lib: session::tests::keeping'
const AGREEMENT = 'agreement: agree_on_notes'
const CALM = 'simulation: without_faults_everyone_is_served_in_order'
const SMALL = 'exhaustive: crowd'

export const MUTATIONS = [
  {
    name: 'wanted is ignored',
    file: SOLE,
    text: 'self.note.filter(|note| note.number <= number)?;',
    replacement: 'self.note.filter(|note| note.number < number)?;',
    tests: [CALM, SMALL],
  },
  {
    name: 'wanted that overtakes its note is forgotten',
    file: SOLE,
    text: 'self.wanted = self.wanted.max(number);',
    replacement: '',
    tests: [SESSION],
  },
  {
    name: 'a note is relied on for longer than two seconds',
    file: SOLE,
    text: 'const GOOD_FOR: Duration = Duration::from_secs(2);',
    replacement: 'const GOOD_FOR: Duration = Duration::from_secs(20);',
    tests: [SESSION],
  },
  {
    name: 'a note is relied on without a connection',
    file: SLOTS,
    text: 'let linked = cx.connection.ready(now) && cx.connection.listens();',
    replacement: 'let linked = true;',
    tests: [SESSION],
  },
  {
    name: "another session's live note is overwritten",
    file: GROUP,
    text: '(note.confirmed_ms + LIFE_MS).saturating_sub(now_ms)',
    replacement: '(note.confirmed_ms - note.confirmed_ms)',
    tests: [NOTES],
  },
  {
    name: "another session's dead note is never replaced",
    file: GROUP,
    text: 'const LIFE_MS: u64 = 3_000;',
    replacement: 'const LIFE_MS: u64 = 3_000_000;',
    tests: [NOTES],
  },
  {
    name: 'a note is written for a limit below what is held',
    file: GROUP,
    text: 'self.limit_seen == limit && self.leases.held() <= u64::from(limit);',
    replacement: 'self.limit_seen == limit;',
    tests: [NOTES, AGREEMENT],
  },
  {
    name: 'a foreign grant on another limit leaves the note',
    file: GROUP,
    text: 'if other_limit || answers.iter()',
    replacement: 'if answers.iter()',
    tests: [NOTES],
  },
  {
    name: "the session's own request on other terms leaves the note",
    file: PASSING,
    text: 'if asked != Some(terms) {',
    replacement: 'if asked.is_none() {',
    tests: [SESSION],
  },
  {
    name: 'a slot is passed beside own requests in line',
    file: SLOTS,
    text: 'if self.members.waiting_count() > 0 || busy > terms.limit as usize {',
    replacement: 'if busy > terms.limit as usize {',
    tests: [SESSION, CALM],
  },
  {
    name: 'a slot is passed beside own requests that are asked',
    file: PASSING,
    text: 'let passes = self.members.inside_count() > 0 && self.members.asks_count() == 0;',
    replacement: 'let passes = self.members.inside_count() > 0;',
    tests: [SESSION, CALM],
  },
  {
    name: 'those inside are forgotten when the note lapses',
    file: PASSING,
    text: `let ended = self.sole.end(None);
            return self.leave_inside(cx, now, ended);`,
    replacement: `self.sole.end(None);
            return;`,
    tests: [SESSION, CALM],
  },
  {
    name: 'a slot is passed with a token of before its grant',
    file: SOLE,
    text: 'let has = note.next <= note.last && note.next > above.0;',
    replacement: 'let has = note.next <= note.last;',
    tests: [CALM, SESSION],
  },
  {
    name: 'a token is given twice',
    file: SOLE,
    text: '        note.next += 1;\n',
    replacement: '',
    tests: [SESSION, CALM],
  },
  {
    name: "a block is ahead of Redis's clock",
    file: GROUP,
    text: 'self.last_token = after.max(FencingToken(now.us));',
    replacement: 'self.last_token = after.max(FencingToken(now.us + 1_000_000));',
    tests: [NOTES],
  },
  {
    name: 'reconcile compares the wrong token',
    file: SEND,
    text: 'token: held.granted,',
    replacement: 'token: held.token,',
    tests: [SESSION],
  },
  {
    name: 'a passed slot comes back with the token of its grant',
    file: SEND,
    text: 'current: held.token,',
    replacement: 'current: held.granted,',
    tests: [SESSION],
  },
  {
    name: 'a ticket outside the interval is taken',
    file: GROUP,
    text: 'Some(note.begun < ask.ticket && ask.ticket < note.wanted?.ticket)',
    replacement: 'note.wanted.map(|_| true)',
    tests: [NOTES],
  },
  {
    name: 'those inside join with fresh tickets',
    file: PASSING,
    text: 'acquisition.place = (place < ended_by).then_some((number, place));',
    replacement: 'acquisition.place = None;',
    tests: [CALM, SESSION],
  },
  {
    name: 'nobody inside is asked for when an own lease is lost',
    file: PASSING,
    text: 'while self.busy() < terms.limit as usize',
    replacement: 'while self.busy() > terms.limit as usize',
    tests: [SESSION],
  },
  {
    name: 'a slot is passed that ends soon',
    file: SLOTS,
    text: 'let lasts = now + acquisition.lease() / 3 <= held.valid_until;',
    replacement: 'let lasts = now + acquisition.lease() / 300 <= held.valid_until;',
    tests: [SESSION],
  },
  {
    name: 'a push of wanted is not repeated',
    file: GROUP,
    text: 'self.tell(turn, note.session, News::Wanted { number: note.number, ticket });',
    replacement: 'let _ = ticket;',
    tests: [NOTES],
  },
  {
    name: 'the cool-down never grows',
    file: GROUP,
    text: '(2 * self.sole.cool_ms)',
    replacement: '(self.sole.cool_ms)',
    tests: [NOTES],
  },
  {
    name: 'an event is told after closed',
    file: 'crates/core/src/driver/clients.rs',
    text: '        self.over = matches!(event, Event::Closed { .. });\n',
    replacement: '',
    tests: ['lib: driver::tests'],
  },
  {
    name: 'a slot is passed while more is in Redis than the limit',
    file: SLOTS,
    text: ' || busy > terms.limit as usize {',
    replacement: ' {',
    tests: [SESSION],
  },
  {
    name: 'a newcomer comes before those inside',
    file: PASSING,
    text: 'let waits = inside > 0 || self.busy()',
    replacement: 'let waits = self.busy()',
    tests: [SESSION],
  },
  {
    name: 'slots stay kept when the note ends',
    file: PASSING,
    text: '        self.recall_idle(cx, now);\n',
    replacement: '',
    tests: [KEEPING],
  },
  {
    name: 'slots are kept beyond their time',
    file: SLOTS,
    text: 'usable_until.min(now + acquisition.keep.min(stall_timeout))',
    replacement: 'usable_until.max(now + stall_timeout.min(acquisition.keep))',
    tests: [KEEPING],
  },
  {
    name: 'a client that is not heard of keeps slots',
    file: SLOTS,
    text: 'cx.clients.stall_timeout(acquisition.client).unwrap_or(Duration::MAX)',
    replacement: 'Duration::MAX.min(cx.settings.connect_timeout)',
    tests: [KEEPING],
  },
  {
    name: 'slots are kept under a note that does not say so',
    file: SLOTS,
    text: '!it.keep.is_zero() && self.sole.keeps()',
    replacement: '!it.keep.is_zero()',
    tests: [KEEPING],
  },
  {
    name: 'a closed client leaves what it keeps',
    file: REQUESTS,
    text: 'if release || idle {',
    replacement: 'if release {',
    tests: [KEEPING],
  },
  {
    name: 'a renewal is forgotten whose slot was kept meanwhile',
    file: ANSWERS,
    text: 'Some(State::Held(_) | State::Idle { .. }), Renewed::Extended',
    replacement: 'Some(State::Held(_)), Renewed::Extended',
    tests: [KEEPING],
  },
  {
    name: 'who tries once leaves at once where slots are kept',
    file: ACQUISITION,
    text: '            self.give_up_at = Some(end);\n',
    replacement: '            let _ = end;\n',
    tests: [KEEPING],
  },
  {
    name: 'who tries once is refused where slots are kept',
    file: 'crates/core/src/group/acquire.rs',
    text: '!(self.line.takes(terms.limit) && self.recalls(turn))',
    replacement: '!(self.line.takes(terms.limit) && self.recalls(turn) && false)',
    tests: [NOTES],
  },
  {
    name: 'the library: who tries once is refused where slots are kept',
    file: 'crates/core/lua/acquire.lua',
    text: 'recalls = note_recalls()',
    replacement: 'recalls = false',
    tests: [AGREEMENT],
  },
  {
    name: "the library: another session's live note is overwritten",
    file: LIBRARY,
    text: 'in_ms = max(in_ms, it.confirmed + LIFE - now)',
    replacement: 'in_ms = max(in_ms, 0)',
    tests: [AGREEMENT],
  },
  {
    name: 'the library: a note is written for a limit below what is held',
    file: LIBRARY,
    text: 'or g.held > tonumber(limit) then',
    replacement: 'then',
    tests: [AGREEMENT],
  },
  {
    name: 'the library: a foreign grant on another limit leaves the note',
    file: LIBRARY,
    text: 'elseif other or unserved then',
    replacement: 'elseif unserved then',
    tests: [AGREEMENT],
  },
  {
    name: "the library: a block is ahead of Redis's clock",
    file: LIBRARY,
    text: '    raise_token(now_us)\n',
    replacement: '    raise_token(now_us + 1000000)\n',
    tests: [AGREEMENT],
  },
  {
    name: 'the library: a ticket outside the interval is taken',
    file: LIBRARY,
    text: 'tonumber(it.begun) < at and at < tonumber(it.ticket) then',
    replacement: "it.ticket ~= '0' then",
    tests: [AGREEMENT],
  },
]

/** A source with a mutation in it. */
export function mutated(source, { name, file, text, replacement }) {
  const many = source.split(text).length - 1
  if (many !== 1) throw new Error(`"${name}": its text is found ${many} times in ${file}, not once`)
  return source.replace(text, () => replacement)
}
