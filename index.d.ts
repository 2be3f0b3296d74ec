import { EventEmitter } from 'node:events'

/**
 * What one request asks for. All times are seconds; fractions are allowed.
 *
 * The first `limitTimeout` or `limitExpire` that looks like milliseconds (a whole number of 1,000 or more, but no tens
 * of minutes such as 1800 or 3600) brings a process warning with the code `CONCURRENCY_LIMIT_MILLISECONDS`.
 */
export interface LimitConfig {
  /** The group: everything that shares a key shares the limit. 1 to 512 bytes in UTF-8. */
  key: string

  /**
   * How many slots of the group may be held at once, over all processes. An integer from 1 to 1,000,000.
   *
   * Requests with different limits may share a key: each sees its own. Lowering a limit takes no slot from anybody.
   */
  limit: number

  /**
   * How long to wait in line, in seconds: 0 or more, or `Infinity`. Default 10.
   *
   * 0 tries once and doesn't wait; it fails too while others wait. Where another process keeps slots (`limitKeep`), it
   * waits up to 0.1 s for one of them. Connecting and leaving the line may take at most
   * `commandTimeout` more. With `Infinity` and no `signal`, a request may wait for ever.
   */
  limitTimeout?: number | undefined

  /**
   * How often to look again where Redis can't push a grant, in seconds: 0.01 to 3600. Default 0.1.
   *
   * Not used where push works, which is the rule. Small values cost Redis a call each time.
   */
  limitInterval?: number | undefined

  /**
   * The lease, in seconds: 0.1 to 604,800 (7 days). Default 60.
   *
   * How long a holder keeps its slot without contact to Redis, and how long the slot of a crashed holder stays taken.
   * While the holder lives and is connected, the lease is renewed at a third of this. A slot that was handed over by
   * push counts 5 s (or the lease, if shorter) until its first confirmation. Danger: a lease below some seconds is lost
   * by a short cut in the network, and one below a round trip can't be granted; a long one keeps the slot of a crashed
   * holder for long.
   */
  limitExpire?: number | undefined

  /** How many slots to take in one grant, all or none. An integer from 1 to 1,000, at most `limit`. Default 1. */
  weight?: number | undefined

  /**
   * Higher goes first. An integer from −10 to 10. Default 0. Danger: a steady stream of higher ones starves the lower.
   */
  priority?: number | undefined

  /**
   * Refuse with {@link QueueFullError} when so many wait already. An integer, 0 or more, or `Infinity`, the default.
   *
   * Requests that wait inside another process for its own slots don't count; see {@link Limiter.status}.
   */
  maxWaiting?: number | undefined

  /**
   * Whether the lease is renewed while it's held. Default true.
   *
   * With false it ends at most `limitExpire` after the grant was told, whatever its holder does.
   */
  renew?: boolean | undefined

  /**
   * The longest hold, in seconds: 0.1 or more, or `Infinity`, the default. Renewal stops then, and the lease is lost.
   *
   * A guard against work that hangs while its process lives.
   */
  limitHold?: number | undefined

  /**
   * For how long the slot stays with this process after its release, in seconds: 0 to 60, at most a third of
   * `limitExpire`. Default 0: it doesn't.
   *
   * As long as nobody else asks for the key, the process's next request with the same `limit` and `limitExpire` has
   * that slot without asking Redis, and `release()` answers at once. The first request of another process gets it
   * within two messages. For one process, or few that take turns; where several use a key at its limit, it gains
   * nothing. 0.1 s is enough for work that follows at once.
   *
   * Danger: when the process is killed, or frozen as serverless functions are between calls, a slot that nobody holds
   * stays taken for up to `limitExpire`. Fencing tokens grow for each slot, not across the slots of a key. Only 0 with
   * `weight`, `priority`, `holder`, `limitHold` and `renew: false`; without effect with `minReplicas`, and where pushes
   * don't arrive.
   */
  limitKeep?: number | undefined

  /**
   * A name of the caller's own for the lease. 1 to 256 bytes in UTF-8.
   *
   * Acquiring a name that is held takes the lease over: same slot, new token; the former owner has lost it. It can be
   * released by that name from any process. Danger: two workers that use one name by mistake take it from each other.
   */
  holder?: string | undefined

  /** Shown by {@link Limiter.status}. 0 to 128 bytes in UTF-8. */
  label?: string | undefined

  /**
   * Leaves the line when aborted; the promise is then rejected with `signal.reason`, or with an `AbortError` where the
   * signal of a library has no reason. Doesn't touch a granted lease.
   *
   * One signal may serve any number of requests, for as long as the process lives: it has one listener of ours while
   * any of them waits, and none otherwise.
   */
  signal?: AbortSignal | undefined

  /**
   * Only for {@link Limiter.withLimit} and {@link Limiter.wrap}: whether they reject with {@link LeaseLostError} when
   * the work has resolved but its lease was lost by then, as {@link Lease.lost} says at that moment. Default `false`:
   * they resolve with what the work gives, and `lease.signal` and `lease.lost` tell the work.
   *
   * It is known when the work settles, not before: pass `lease.signal` on to end it early. When the work rejects, its
   * own error stays.
   */
  rejectOnLoss?: boolean | undefined
}

/** Certificates and keys in PEM. */
export type Pem = string | NodeJS.ArrayBufferView

/** How a connection is protected. */
export interface TlsOptions {
  /**
   * Certificates that are trusted instead of all others; a server's own may be one of them. At most 1 MiB each.
   *
   * Default: what the process trusts, as for Node.js itself. That is Mozilla's authorities and those of
   * `NODE_EXTRA_CA_CERTS`; with `--use-openssl-ca`, what `SSL_CERT_FILE` and `SSL_CERT_DIR` name; where
   * `tls.getCACertificates()` exists, what it gives, so that `--use-system-ca` and `tls.setDefaultCACertificates()`
   * count. It's taken when the Limiter is made.
   */
  ca?: Pem | Pem[] | undefined
  /** Our own certificate, its chain after it, for a server that asks for one. Only with `key`. */
  cert?: Pem | undefined
  /** The private key of `cert`, never shown in an error. */
  key?: Pem | undefined
  /** What `key` is encrypted with, 1 to 4096 bytes; never shown in an error. Default: it isn't. */
  passphrase?: string | undefined
  /** The name that the server's certificate must carry. Default: the host. */
  servername?: string | undefined
  /**
   * Whether a certificate that can't be verified ends the connection. Default true, or false where the environment's
   * `NODE_TLS_REJECT_UNAUTHORIZED` is 0, which a process warning tells. With false any certificate is taken. Danger:
   * anybody may then sit between.
   */
  rejectUnauthorized?: boolean | undefined
}

/** A host and a port: `'host:port'`, `'[::1]:port'`, or both as members. */
export type NodeAddress = string | { host: string; port?: number | undefined }

/**
 * A user name or a password: itself, or a function that gives it, at once or as a promise. It's called each time a
 * connection is to be made, as for a token that runs out, and `connectTimeout` bounds it. That it fails, or gives no
 * text, is told in the error and by a `warning`, and it's called again with the next attempt to connect.
 */
export type Credential = string | (() => string | Promise<string>)

/**
 * Where addresses are really reached that members of a cluster and sentinels announce: a table by `'host:port'`, or a
 * function of it. What is not in the table, or for which the function gives nothing, is reached as announced. The
 * function may give a promise; it's called at every connect, `connectTimeout` bounds it, and that it fails is an
 * attempt to connect that failed.
 */
export type NatMap =
  | { [address: string]: NodeAddress }
  | ((address: string) => NodeAddress | null | undefined | Promise<NodeAddress | null | undefined>)

/** Sentinels, which know where the primary is. */
export interface SentinelOptions {
  /** What the sentinels call the primary. Required, unless the url says it. */
  name?: string | undefined
  /** The sentinels, at least one; default port 26379. All are asked, at once. Required, unless the url says them. */
  nodes?: NodeAddress[] | undefined
  /** User name for the sentinels themselves. Default none; those of the server aren't used. */
  username?: Credential | undefined
  /** Password for the sentinels themselves; never shown in an error. Default none. */
  password?: Credential | undefined
  /** TLS to the sentinels. Default: as to the server. */
  tls?: boolean | TlsOptions | undefined
}

/**
 * Where Redis is, and how to speak with it. All times are seconds.
 *
 * An option beats the same part of the url. Options that name another kind of place than the url (or than each other)
 * are a {@link ConfigError}: one of `host` and `port`, `path`, `cluster`, `sentinel`, `client`.
 */
export interface ConnectionOptions {
  /**
   * `redis://[[user]:password@]host[:port][/db]`; `rediss:` with TLS; `valkey:` and `valkeys:` mean the same.
   * `unix:///path/of/the/socket[?db=1&username=u&password=p]`, also as `redis+unix:`.
   * `redis+sentinel://[[user]:password@]host[:port],…/name[/db]` and `redis+cluster://[[user]:password@]host[:port],…`,
   * with TLS as `rediss+…`. `memory:` for limits in this process only. Special characters as `%40`; never shown with
   * its password. Parameters are `db`, `username` and `password`; `family` and those of ioredis for waiting and
   * retrying are skipped.
   *
   * Without any option that says where: the environment's `REDIS_URL`, else `memory:` with a warning.
   */
  url?: string | undefined

  /** Host name or IP address. Default `'127.0.0.1'`. */
  host?: string | undefined

  /** TCP port, 1 to 65535. Default 6379. */
  port?: number | undefined

  /** Absolute path of a Unix socket, up to 107 bytes. */
  path?: string | undefined

  /** Number of the database, 0 or more. Default 0; a cluster has no other. */
  db?: number | undefined

  /**
   * User name of Redis' access control, 1 to 1024 bytes, or a function that gives it; needs a password. Default: Redis'
   * default user. Limiters share a connection only if they have the same function.
   */
  username?: Credential | undefined

  /**
   * Password, 1 to 4096 bytes, or a function that gives it; never shown in an error.
   *
   * One that the server refuses fails requests at once, until a connection has stood. After that it's tried again like
   * a lost connection, with a `warning`: those who wait keep their place, those who hold their lease as long as it
   * lasts.
   */
  password?: Credential | undefined

  /** TLS: true, false, or its settings. Default false, or as the url says. False beside a `rediss:` url is an error. */
  tls?: boolean | TlsOptions | undefined

  /**
   * Members of a Redis Cluster to begin with, at least one; default port 6379. The others are found. User, password and
   * TLS are the same for every member; each group is on one master, which is asked for all that concerns it.
   */
  cluster?: NodeAddress[] | undefined

  /**
   * Where announced addresses are really reached, behind NAT or in containers. Only with `cluster` and `sentinel`.
   * Default: as they are announced.
   */
  natMap?: NatMap | undefined

  /** The same as `natMap`, by the name that node-redis has for it. Not beside it. */
  nodeAddressMap?: NatMap | undefined

  /** Asks sentinels for the primary, at every connect, and about once a second whether it still is. */
  sentinel?: SentinelOptions | undefined

  /**
   * A client of ioredis (`Redis` or `Cluster`) or of node-redis 5 or newer (`createClient`), whose connection is used
   * instead of one of ours. It stays its owner's: the limiter never closes it, and one of node-redis has to be
   * connected. Pushes come over a `duplicate()` of it, which is ours. Limiters over the same client share a session.
   * One that waits in commands that block (`BLPOP`, `XREAD BLOCK`, a worker of BullMQ) can't carry it: requests fail
   * with an {@link UnavailableError} that says so. Give a `duplicate()` of it.
   *
   * Nothing that says where may stand beside it, nor `clientName`, `maxConnections` and `minReplicas`; a client with a
   * `keyPrefix` of its own is refused.
   *
   * Danger: renewals then depend on the event loop and on this client. A loop that is blocked for longer than
   * `limitExpire` loses its leases. At `process.exit()` and after an uncaught error nothing can be given back: slots
   * stay taken until their leases end, unless {@link Limiter.close} was awaited before.
   */
  client?: object | undefined

  /**
   * How long connecting may take, all steps together, in seconds: 0.01 to 3600. Default 10. While it hangs, it is tried
   * beside that on a fresh socket, every half a second at the default `settle`.
   */
  connectTimeout?: number | undefined

  /**
   * How long an answer of Redis may take, in seconds: 0.01 to 3600. Default 1. After that its outcome counts as
   * unclear, and the connection is made anew. Danger: below the time of Redis' slowest command, healthy connections are
   * cut.
   */
  commandTimeout?: number | undefined

  /**
   * How many connections may be open at once: 1 to 1000. Default: as many as are needed, which is one; one more with
   * `minReplicas`; one more if the server has no RESP3. Optional connections above the number are skipped: with 1 and
   * without RESP3, waiters poll every `limitInterval`. All limiters of a process with the same options share these.
   */
  maxConnections?: number | undefined

  /**
   * A grant counts only when so many replicas have it: an integer from 0 to 1000. Default 0.
   *
   * A grant that too few replicas confirm within `replicaTimeout` is given back; the request goes on waiting, and
   * fails with {@link UnavailableError} in the end (or as `onUnavailable` says). Costs a round trip to the replicas for
   * each grant. Danger: with fewer replicas alive nothing is granted. It makes losing a grant in a failover less
   * likely, not impossible.
   */
  minReplicas?: number | undefined

  /** How long to wait for those replicas, in seconds: 0.01 to 3600. Default 1. */
  replicaTimeout?: number | undefined

  /** Name of the connection in `CLIENT LIST`: 1 to 128 printable ASCII characters without spaces. Default none. */
  clientName?: string | undefined

  /**
   * What others are told of this process beside its leases and requests: by {@link Limiter.status}, the command line,
   * errors and warnings. Default: host name, process id and program, which is `clientName` or else the name of the main
   * script's file.
   *
   * A text of 1 to 64 bytes stands for the program. With false nothing is told; then nothing of it is in Redis either,
   * where whoever may read the keys may read it.
   */
  identity?: string | false | undefined

  /**
   * What every key in Redis begins with: 1 to 128 bytes without `{` and `}`. Default `'cl'`.
   *
   * Danger: processes with different prefixes don't share their limits.
   */
  keyPrefix?: string | undefined

  /**
   * How long nothing new is granted after a start of the Redis server, in seconds: 0 to 3600. Default 2.
   *
   * A server that has just started empty doesn't know who holds; in this time the holders say so. Danger: with 0, a
   * restart without saved data lets others in beside those who hold.
   */
  settle?: number | undefined

  /**
   * What becomes of requests while Redis can't be reached. Default `'reject'`: {@link UnavailableError}.
   *
   * `'allow'` lets them in without a limit, `'local'` limits them in this process alone, where the leases that it has
   * from Redis count, too; both from when an attempt to connect fails or takes longer than `commandTimeout`, for
   * `unavailableTimeout`, and with a `warning` event. Their leases have `standIn: true`. "Full" stays full, and what a
   * Redis that answers refuses (memory, rights, loading, `settle`) stays refused. When Redis is back, those who still
   * wait are asked of it. Danger: across processes the limit isn't held meanwhile, and those let in may still run then.
   */
  onUnavailable?: 'reject' | 'allow' | 'local' | undefined

  /**
   * How long `'allow'` and `'local'` hold in one outage, in seconds: 0.1 to 604800. Default 60. It counts from the
   * first request that needs them after Redis was last connected.
   */
  unavailableTimeout?: number | undefined

  /**
   * Renewing stops when the event loop hasn't turned for so long, in seconds: 0.1 to 604800 (7 days). Default: off.
   *
   * Renewal runs on a thread of its own, so a process that hangs in JavaScript keeps its slots for ever. With this,
   * they end `limitExpire` after their last renewal, and `lease.lost` says so when the loop turns again. Danger: set it
   * well above the longest time that healthy work blocks the loop.
   */
  stallTimeout?: number | undefined

  /**
   * Signals on which everything is given back: a list of `'SIGTERM'`, `'SIGINT'`, `'SIGHUP'`, `'SIGQUIT'`, `'SIGUSR2'`,
   * `'SIGBREAK'`. Default none: the package then listens to no signal.
   *
   * Then the signal does what it would have done. Where nobody else listens to it, the process gives back what it has
   * (within 0.2 s; over a `client` of your own within 1 s, by {@link Limiter.close}) and ends by the signal. Where
   * others listen, the limiter is closed and the process isn't ended by us. In a worker thread it's a {@link
   * ConfigError}.
   *
   * Danger: work under a lease that is given back may still run, if others keep the process alive.
   */
  releaseOn?: ('SIGTERM' | 'SIGINT' | 'SIGHUP' | 'SIGQUIT' | 'SIGUSR2' | 'SIGBREAK')[] | undefined
}

/**
 * A held slot. Give it back with {@link Lease.release}, `await using`, or use {@link withLimit}.
 *
 * Danger: a lease that is forgotten stays held. When its object is garbage-collected without release, work under it may
 * still run, whether its `signal` is kept or not. So its slot isn't given to anybody, and is renewed as before: until
 * `limitHold` is over, {@link Limiter.close} is called, or the process (or worker thread) ends. A process warning with
 * the code `CONCURRENCY_LIMIT_FORGOTTEN_LEASE` names each key once; {@link Stats.forgotten} counts.
 */
export interface Lease {
  /** The group. */
  readonly key: string
  /** The slot, from 1 to the limit: unique among those who hold now. The lowest one if the weight is above 1. */
  readonly slot: number
  /** All slots, as many as the weight, ascending. */
  readonly slots: readonly number[]
  /**
   * Grows with every grant of a slot, for ever, so with a limit of 1 with every grant of the key: a resource that
   * remembers the highest can refuse a late writer. With a larger limit it has to remember the highest of each slot.
   */
  readonly fencingToken: number
  /**
   * Names this lease in {@link Limiter.status} and {@link Limiter.release}. A slot that goes on to the next request of
   * this process without asking Redis keeps it; with the token it names one holder.
   */
  readonly leaseId: string
  /** How long the request waited, in seconds. */
  readonly waited: number
  /** Granted without Redis, which couldn't be reached: see {@link ConnectionOptions.onUnavailable}. */
  readonly standIn: boolean
  /**
   * Aborted with a {@link LeaseLostError} when the lease is lost. It's checked before it's handed out, and never causes
   * an unhandled rejection. Work that ignores it may run beside a new holder.
   */
  readonly signal: AbortSignal
  /** Whether the lease is lost, computed when read. Once true it stays true; after a release it stays as it was. */
  readonly lost: boolean
  /**
   * Gives the slot back. False if it was gone already. Never rejects; further calls give the same promise. Works by
   * itself, too: `const { release } = await limiter.acquire(…)`. It resolves with Redis's answer, within
   * `commandTimeout`.
   */
  release(this: void): Promise<boolean>
  /**
   * What `await using` calls: as {@link Lease.release}, without waiting for Redis's answer. The release is on its way,
   * and sent again until it is answered; at exit the process waits for that. Over a `client` of your own it is waited
   * for.
   */
  [Symbol.asyncDispose](): Promise<void>
}

/** Who holds, in a {@link Status}. */
export interface HolderStatus {
  slots: number[]
  leaseId: string
  holder: string | null
  label: string | null
  /** Where it is held; null where its process doesn't tell: see {@link ConnectionOptions.identity}. */
  host: string | null
  pid: number | null
  program: string | null
  fencingToken: number
  /** Seconds until the lease ends if it isn't renewed; 0 if it has ended. */
  endsIn: number
  /** Seconds since the lease was granted, by Redis's clock. */
  heldFor: number
}

/** Who waits, in a {@link Status}. */
export interface WaiterStatus {
  leaseId: string
  holder: string | null
  label: string | null
  /** Where it waits; null where its process doesn't tell: see {@link ConnectionOptions.identity}. */
  host: string | null
  pid: number | null
  program: string | null
  limit: number
  weight: number
  priority: number
  /** Seconds in line so far, by Redis's clock. */
  waited: number
}

/** A picture of a group. */
export interface Status {
  key: string
  /** The limit last asked with; 0 if none was. */
  limit: number
  /** Slots held. */
  held: number
  /** Requests in line. */
  waiting: number
  holders: HolderStatus[]
  waiters: WaiterStatus[]
}

/** How long something took, in ranges as Prometheus has them. All times are seconds. */
export interface Histogram {
  /** How many there were. */
  count: number
  /** All of them together. */
  sum: number
  /** For each bound `le`, from 0.001 to 5000, how many took that long or less. What took longer is in `count` only. */
  buckets: { le: number; count: number }[]
}

/** What became of slots that stayed with this process after their release. */
export interface KeptStats {
  /** Kept now. */
  now: number
  /** Taken by a later request of this process, without asking Redis. */
  reused: number
  /** Given back because another process, or a request on other terms, asked, or the connection was lost. */
  recalled: number
  /** Given back when `limitKeep` was over. */
  unused: number
}

/** Counters, since a process first used these options. */
export interface Stats {
  /** Leases granted without waiting in line. */
  grantedAtOnce: number
  /** Leases granted after waiting in line. */
  grantedAfterWaiting: number
  /** Requests refused: full, line full, or Redis not available. */
  refused: number
  /** Requests whose `limitTimeout` was over while they waited. */
  timedOut: number
  /** Requests ended by their `signal`. */
  aborted: number
  /** Leases lost. */
  lost: number
  /** Leases that were garbage-collected without release, and stay held: see {@link Lease}. */
  forgotten: number
  /** Leases granted by a push. */
  handedOff: number
  /** Slots that went from a released lease to the next request of this process, without asking Redis. */
  passed: number
  /** What became of slots that were kept after their release: see `limitKeep`. */
  kept: KeptStats
  /** Calls sent to Redis; one call carries many requests. */
  calls: number
  /** Connections made after the first. */
  reconnects: number
  /** Leases held now. */
  held: number
  /** Requests that wait now. */
  waiting: number
  /** How long the leases that were granted had been waited for. */
  waits: Histogram
  /** How long the leases that were given back had been held. */
  holds: Histogram
}

/** How {@link Limiter.metrics} names keys. */
export interface MetricsOptions {
  /**
   * The class of a key, which metrics carry instead of the key. Default: the part before the first `:`. Danger: what it
   * gives must have few values; a customer's number is none.
   *
   * Where it throws or gives no text, the class is `_OTHER`, and a process warning says so once.
   */
  group?: ((key: string) => string) | undefined
  /**
   * How many classes there are at most: an integer from 1 to 10,000. Default 100. Keys of further ones are `_OTHER`.
   */
  maxGroups?: number | undefined
}

/** What the event `lost` tells, once per lost lease. */
export interface LostEvent {
  key: string
  leaseId: string
  slot: number
  why: string
  error: LeaseLostError
}

/** What the events of the connection tell. */
export interface ConnectionEvent {
  message: string
}

/**
 * The events of a {@link Limiter}. The same facts are on `node:diagnostics_channel`, as `concurrency-limit:<event>`.
 */
export interface LimiterEvents {
  /** A lease was lost: its work may no longer be alone. */
  lost: [LostEvent]
  /** The connection to Redis broke; it's being made anew. */
  disconnect: [ConnectionEvent]
  /** The connection is back. */
  reconnect: [ConnectionEvent]
  /** Redis doesn't let us push (rights, proxy): waiters look every `limitInterval`. */
  pushUnavailable: [ConnectionEvent]
  /**
   * Something that works, but not as meant. Also a request that has waited for more than 10 s: who holds is read and
   * named, once a minute for a key, if somebody listens.
   */
  warning: [ConnectionEvent]
}

/**
 * The names of the tracing channels, as `diagnostics_channel.tracingChannel()` takes them.
 *
 * `acquire`: a request, from the call to its answer. `hold`: a lease, from the grant to its release or loss. `connect`:
 * one attempt to connect. `start` comes when it begins, `asyncEnd` when it is over, `error` before that if it failed.
 * What begins while nobody listens is not told of. Without listeners they cost nothing that can be measured.
 */
export const tracingChannels: {
  readonly acquire: 'concurrency-limit:acquire'
  readonly hold: 'concurrency-limit:hold'
  readonly connect: 'concurrency-limit:connect'
}

/** Where the server is, in the context of a trace; without user and password. */
export interface ServerContext {
  /**
   * Host name, IP address or path of a Unix socket. With Sentinel and Cluster, of the first server that is asked.
   * Undefined for `memory:`.
   */
  readonly serverAddress: string | undefined
  readonly serverPort: number | undefined
  /** Number of the database. */
  readonly db: number | undefined
  readonly clientName: string | undefined
}

/** The context of {@link tracingChannels}`.acquire`. */
export interface AcquireContext extends ServerContext {
  readonly limiter: Limiter
  readonly key: string
  readonly limit: number
  readonly weight: number
  readonly priority: number
  readonly label: string | undefined
  /** Seconds; 0 where the request doesn't wait. */
  readonly limitTimeout: number
  /**
   * How it ended; undefined before. `full`: refused at once. `timed_out`: still full at the end of `limitTimeout`.
   * `request_canceled`: by its `signal`. `failed`: another error. More values may come.
   */
  readonly outcome:
    | undefined
    | 'acquired'
    | 'full'
    | 'timed_out'
    | 'queue_full'
    | 'request_canceled'
    | 'unavailable'
    | 'closed'
    | 'failed'
  /** The lease; null where {@link Limiter.tryAcquire} gives null. */
  readonly result: Lease | null | undefined
  /** What the call rejects with. */
  readonly error: unknown | undefined
  /** The slot, if it was acquired. */
  readonly slot: number | undefined
  /** Seconds from the call to its answer. */
  readonly waited: number | undefined
}

/** The context of {@link tracingChannels}`.hold`. */
export interface HoldContext extends ServerContext {
  readonly limiter: Limiter
  readonly key: string
  readonly limit: number
  readonly weight: number
  readonly label: string | undefined
  /** The lowest slot. */
  readonly slot: number
  readonly leaseId: string
  readonly fencingToken: number
  readonly standIn: boolean
  /** Seconds that the request waited. */
  readonly waited: number
  /**
   * How it ended; undefined before. `gone`: a release found that the lease was gone already. `closed`: the limiter was
   * closed while it was held. More values may come.
   */
  readonly outcome: 'released' | 'lost' | 'gone' | 'closed' | undefined
  /** Why it was lost. `taken_over`: by the same `holder`. `gone`: Redis no longer has it. More values may come. */
  readonly reason: 'expired' | 'gone' | 'taken_over' | 'held_too_long' | 'not_renewed' | 'stalled' | 'other' | undefined
  /** If it was lost. */
  readonly error: LeaseLostError | undefined
  /** Seconds from the grant to the end. */
  readonly held: number | undefined
  /**
   * A listener of `start` may set this: the work of {@link Limiter.withLimit} and {@link Limiter.wrap} is then run by
   * it, and what it returns is awaited. For tracers whose context isn't an `AsyncLocalStorage` that `bindStore` takes.
   */
  around: (<T>(work: () => T) => T) | undefined
}

/** The context of {@link tracingChannels}`.connect`. */
export interface ConnectContext extends ServerContext {
  /** Whether there had been a connection before; undefined until this one stands. */
  readonly isReconnect: boolean | undefined
  /** Why the attempt failed. */
  readonly error: Error | undefined
}

/**
 * Limits how much runs at once, over all processes that share a Redis.
 *
 * One per process and set of options is enough for all keys: make it once, not for each request. One that is dropped
 * without {@link Limiter.close} ends when it is garbage-collected, but never while it holds, waits or was asked. More
 * than 100 that are open with the same options bring a process warning with the code `CONCURRENCY_LIMIT_MANY_LIMITERS`.
 */
export class Limiter extends EventEmitter<LimiterEvents> {
  /**
   * Connects at first use. Without a server named: `REDIS_URL`, else limits hold in this process only (with a warning).
   * @throws {ConfigError}
   * @throws {BinaryError}
   */
  constructor(url?: string, options?: Omit<ConnectionOptions, 'url'>)
  constructor(options: ConnectionOptions)

  /**
   * Waits up to `limitTimeout` for a lease.
   *
   * Rejects with {@link ConcurrencyLimitExceededError}, {@link QueueFullError}, {@link UnavailableError}, {@link
   * ConfigError}, {@link ClosedError}, {@link ProtocolError}, or with the reason of an aborted `signal`.
   */
  acquire(config: LimitConfig): Promise<Lease>

  /** Like {@link Limiter.acquire}, but never waits (whatever `limitTimeout` says): null when full. */
  tryAcquire(config: LimitConfig): Promise<Lease | null>

  /**
   * Runs `fn` under a lease and gives the lease back when `fn` settles, as `await using` does: without waiting for
   * Redis's answer, but over a `client` of your own. An error of `fn` is thrown as it is. Without `rejectOnLoss` it
   * resolves although the lease was lost.
   *
   * Danger: asking for the same key inside of `fn` takes another slot. When the leases around it hold all slots, it
   * waits for itself until `limitTimeout` is over; a process warning with the code `CONCURRENCY_LIMIT_NESTED` names
   * each key once (before Node.js 24 only for requests that `fn` makes before its first `await`).
   */
  withLimit<T>(config: LimitConfig, fn: (lease: Lease) => T): Promise<Awaited<T>>

  /** A function that runs `fn` under a lease, with its `this` and arguments; the config may depend on both. */
  wrap<This, Args extends unknown[], T>(
    config: LimitConfig | ((this: This, ...args: Args) => LimitConfig),
    fn: (this: This, ...args: Args) => T,
  ): (this: This, ...args: Args) => Promise<Awaited<T>>

  /**
   * Whether leases can be had: a check for the start of a program. It takes one slot of the key
   * `concurrency-limit:ready` and gives it back, so Redis was reached, lets the scripts run and write, and has settled.
   *
   * `timeout` in seconds, 0 or more, default 10. Rejects like {@link Limiter.acquire}: with {@link UnavailableError}
   * when the time is over. What `onUnavailable` grants doesn't count; with it, an outage is known after
   * `connectTimeout` and `commandTimeout` at most. `warnings` is what this limiter was told of the server by the
   * events `warning` and `pushUnavailable` since it was last connected.
   */
  ready(options?: { timeout?: number | undefined; signal?: AbortSignal | undefined }): Promise<{ warnings: string[] }>

  /**
   * Who holds and who waits, now.
   *
   * While a process has a key to itself, its requests wait inside it: only its own limiters show them. Others show who
   * has a slot there once that has lasted for a second, and slots that are kept (`limitKeep`) as held by whoever had
   * them last.
   */
  status(key: string): Promise<Status>

  /** The keys of the groups that exist, as Redis lists them; one may come twice. `pattern` is a glob over them. */
  keys(pattern?: string): AsyncGenerator<string, void, undefined>

  /** Removes ended leases now; how many there were. Never needed for correctness. */
  clean(key: string): Promise<number>

  /**
   * Gives back the lease of a holder's name, or any lease by its id, from any process. True if there was one. With the
   * `fencingToken` that {@link Limiter.status} showed nobody is hit who has got the slot since.
   *
   * Danger: the work of that lease goes on until it looks at its `signal`.
   */
  release(
    target:
      | { key: string; holder: string; leaseId?: undefined }
      | { key: string; holder?: undefined; leaseId: string; fencingToken?: number },
  ): Promise<boolean>

  /** What happened since this process first used these options; limiters that share a connection share the counters. */
  stats(): Promise<Stats>

  /**
   * What this limiter did, as text that Prometheus scrapes (`text/plain; version=0.0.4`).
   *
   * The first call begins the counting, and its options count; while it counts, requests cost some microseconds more.
   * Counters of calls, connections and hand-offs are those of {@link Limiter.stats}. For several limiters, or beside
   * other metrics, use `concurrency-limit/otel`.
   */
  metrics(options?: MetricsOptions): Promise<string>

  /**
   * Gives everything back (with `release: false` the leases run to their ends instead), rejects what waits with
   * {@link ClosedError}, ends the connection. All later calls reject. Further calls give the same promise. A lease that
   * was granted but not told yet is given back in any case.
   */
  close(options?: { release?: boolean | undefined }): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** {@link Limiter.withLimit} of one Limiter that the process shares: `new Limiter()`, made at first use. */
export function withLimit<T>(config: LimitConfig, fn: (lease: Lease) => T): Promise<Awaited<T>>

/**
 * Replaces the Limiter of {@link withLimit}, by one of another copy of this package, too. The former one isn't closed.
 */
export function setDefaultLimiter(limiter: Limiter): void

/**
 * The base of all errors here; `instanceof` works for {@link ConfigError} too, and between copies of this package.
 *
 * `name` and `code` are an error's own properties. `structuredClone` and `postMessage` keep nothing of any error but
 * its message, stack and cause: send `error.toJSON()` instead.
 */
export class ConcurrencyLimitError extends Error {
  protected constructor()
  readonly code: string
  /** Name, code, message and what else the error says, without its stack: an object that any way of copying takes. */
  toJSON(): { name: string; code: string; message: string; [member: string]: unknown }
}

/** Full, and `limitTimeout` is over. */
export class ConcurrencyLimitExceededError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_LIMIT_EXCEEDED'
  readonly key: string
  readonly limit: number
  /** Seconds, as asked. */
  readonly limitTimeout: number
  /** Seconds. */
  readonly waited: number
  /** Slots held. */
  readonly held: number
  /** Other requests in line. */
  readonly waiting: number
  /** Seconds until the earliest lease ends if it isn't renewed; undefined if unknown. */
  readonly retryAfter: number | undefined
  /**
   * Who has held longest, three at most; the message names them, too. Undefined where that would cost more than one
   * short read: more than 100 hold or wait, Redis needs more than 0.05 s, or it was asked 20 times in this second.
   * For a key it is read once a second, so it may be so old.
   */
  readonly holders: HolderStatus[] | undefined
}

/** `maxWaiting` is reached. */
export class QueueFullError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_QUEUE_FULL'
  readonly key: string
  readonly maxWaiting: number
}

/** The reason of `lease.signal` when the lease is lost. */
export class LeaseLostError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_LEASE_LOST'
  readonly key: string
  readonly slot: number
  readonly why: string
}

/** Redis didn't do it within the request's own time: nothing answered, or it refused. */
export class UnavailableError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_UNAVAILABLE'
  /** Where, never with a password. */
  readonly address: string
  /** Whether a server answered: then `message` and `cause` have its words. Otherwise nothing answered. */
  readonly answered: boolean
  readonly cause: Error
}

/** An option is wrong. Also a `TypeError`. */
export class ConfigError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_CONFIG'
  readonly option: string
  /**
   * What was given, if it is a number, a boolean or a text that can't have a secret in it. Of all else only the kind,
   * as in `'a string that is not shown'`: of objects, urls, secrets and what unknown options have.
   */
  readonly given: unknown
  readonly expected: string
}

/** The limiter is closed. */
export class ClosedError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_CLOSED'
}

/** The group's key in Redis has another type or another layout, or an answer isn't understood. Nothing was changed. */
export class ProtocolError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_PROTOCOL'
  readonly key: string | undefined
}

/** No binary of this package fits the machine, or it is of another version. Thrown when the first Limiter is made. */
export class BinaryError extends ConcurrencyLimitError {
  private constructor()
  readonly code: 'ERR_BINARY'
  /** As `process.platform`. */
  readonly platform: string
  /** As `process.arch`. */
  readonly arch: string
  /** `'glibc'` and its version, or `'musl'`; null where the platform isn't Linux, or the process may not ask. */
  readonly libc: string | null
  /** The version of Node.js. */
  readonly node: string
  /** The package that has the binary of this platform; null if there is none. */
  readonly package: string | null
}
