/**
 * A client's connection to a server: the life of each connection from `Hello` to its end, and the
 * next one after it. It owns where the client stands; what the messages are for is its user's matter.
 *
 * Invariants: `standing` is defined only while the server has welcomed this client, the connection is open
 * and the lease (`Lease`) runs. The user hears every message of the server in order, then `broken` once for
 * each connection, and nothing between `broken` and the next connection.
 */
import { Duration, Effect, FiberHandle, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import { codecOf } from "../protocol/codecs.ts"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import { Lines, MIN_LINE_BYTES, Next } from "../protocol/Lines.ts"
import type { ClientMessage, ServerMessage } from "../protocol/Messages.ts"
import {
  isAdmitted,
  isRefusal,
  note,
  type Present,
  type ServerLimits,
  type Standing,
  type State,
  sayHello
} from "./Hearing.ts"
import { type ConnectionOptions, decode, type Identity } from "./Identity.ts"
import { Lease } from "./lease/Lease.ts"
import { Stopwatch } from "./lease/Stopwatch.ts"
import { Terms } from "./lease/Terms.ts"
import { NextHello, reconnecting } from "./Reconnect.ts"
import { type Rejected, rejectedBy } from "./Rejected.ts"
import { SendQueue } from "./SendQueue.ts"

export type { ServerLimits, Standing } from "./Hearing.ts"

/** What a connection calls. */
export interface User {
  /** For each message of the server; `standing` already includes it. */
  readonly heard: (message: ServerMessage) => Effect.Effect<void>
  /** When a connection ends, or cannot be made. */
  readonly broken: Effect.Effect<void>
}

export interface Connection {
  /** Undefined while the client is not admitted. */
  readonly standing: SubscriptionRef.SubscriptionRef<Standing | undefined>
  /** Why the server refused the last `Hello`, such as `name taken`; undefined if it admitted the client or did not answer. */
  readonly refused: SubscriptionRef.SubscriptionRef<Rejected | undefined>
  /** Why the last connection broke, or could not be made; undefined until one did. Admission does not clear it. */
  readonly failure: SubscriptionRef.SubscriptionRef<Socket.SocketError | undefined>
  /** The limits of the server that admitted the client last; undefined until one did. */
  readonly limits: SubscriptionRef.SubscriptionRef<ServerLimits | undefined>
  /**
   * Sends a message if there is a connection, then waits while much waits to be sent. Interrupting the wait
   * does not take the message back. `sent` runs when the socket takes the message: without that call the server
   * has never seen it.
   */
  readonly say: (message: ClientMessage, sent?: () => void) => Effect.Effect<void>
  /** When this client may act on its rank. */
  readonly terms: Terms
  /** The heartbeat of its lease, in milliseconds, whether it has one already or not. */
  readonly leaseHeartbeat: number
  /** Asks the server for a lease, if this client has none yet. */
  readonly requestLease: Effect.Effect<void>
  /** Sends a message if there is a connection, and does not wait. */
  readonly tell: (message: ClientMessage) => void
  /** Changes what the next `Hello` asks for. */
  readonly want: (identity: Identity) => void
  /** The longest line that this client may send, in bytes: 512 until the server says more. */
  readonly maxLine: () => number
  /** The number of the connection; each connection has another. */
  readonly connection: () => number
  /** Connects, and connects again whenever the connection ends. */
  readonly run: (user: User) => Effect.Effect<never>
}

/** Bytes of the longest line of a server: the roster of a large group is one line. */
const MAX_LINE_BYTES = 64 * 1024 * 1024

/** How long the server may take to welcome the client. A client with a lease waits for a heartbeat only. */
const WELCOME_TIMEOUT = Duration.seconds(5)
const LEAST_WELCOME_TIMEOUT = Duration.seconds(1)

/** The longest wait before a client whose work still runs connects again, in milliseconds: it does not run for long. */
const WAIT_AT_WORK = 100

/** How long `Quit` may hold up the end of the client if the server does not read. */
const QUIT_TIMEOUT = "500 millis"

const utf8 = new TextDecoder()

/** How this side ends a connection. */
interface End {
  /** Why the server did not admit the client. */
  readonly refusal?: Rejected
  /** Whether the client had rank 0 until its lease expired. */
  readonly led?: boolean
}

/** The lease has expired: everything that counts on the standing must stop now. */
const expire = ({ standing, terms }: State): Effect.Effect<End> =>
  Effect.suspend(() => {
    const led = SubscriptionRef.getUnsafe(standing)?.rank === 0
    return Effect.as(Effect.andThen(SubscriptionRef.set(standing, undefined), terms.end), { led })
  })

/** The message on the line that `lines` has found; undefined if it is none. */
const messageOn = ({ bytes, end, start }: Lines): Effect.Effect<ServerMessage | undefined> => {
  const line = utf8.decode(bytes.subarray(start, end))
  // A server speaks text until it knows that this client speaks JSON.
  const read = codecOf(bytes[start]).decodeServer(line)
  if (read._tag === "Success") return Effect.succeed(read.success)
  return Effect.as(
    Effect.annotateLogs(Effect.logWarning("cannot decode a line of the server"), { line: line.slice(0, 200) }),
    undefined
  )
}

/** Reads what the server sends, until it refuses the client, sends a line that is too long, or the lease has expired. */
const read = Effect.fnUntraced(function* (
  state: State,
  present: Present,
  pull: Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>,
  heard: User["heard"]
): Effect.fn.Return<End, Socket.SocketError> {
  const lines = new Lines(MAX_LINE_BYTES)
  while (true) {
    const chunks = yield* pull
    // After a pause of the process this may run before the timer of the lease does.
    if (present.lease.left <= 0) return yield* expire(state)
    for (const chunk of chunks) {
      lines.push(chunk)
      for (let next = lines.next(); next !== Next.More; next = lines.next()) {
        if (next === Next.TooLong) return {}
        const message = yield* messageOn(lines)
        if (message === undefined) continue
        if (isRefusal(state, present, message)) {
          const refusal = rejectedBy(message)
          if (!state.hello.isSimplerAfter(refusal)) return { refusal }
          sayHello(state, present)
          continue
        }
        if (yield* note(state, present, message)) yield* heard(message)
      }
    }
  }
})

/** Renews the lease with pings, until it expires. */
const keep = Effect.fnUntraced(function* (state: State, lease: Lease): Effect.fn.Return<End> {
  while (lease.left > 0) {
    const text = lease.ping()
    if (text !== undefined) state.outgoing.add({ _tag: "Ping", text })
    yield* Effect.sleep(lease.wait)
  }
  return yield* expire(state)
})

/** Tells the server that this client leaves for good, so that it does not keep the rank. */
const quit = ({ hello }: State, writer: Socket.Writer) =>
  Effect.suspend(() =>
    hello.isResumable
      ? Effect.ignore(Effect.timeoutOption(writer.write(`${jsonCodec.encodeClient({ _tag: "Quit" })}\n`), QUIT_TIMEOUT))
      : Effect.void
  )

const openTimeout = () =>
  new Socket.SocketError({
    reason: new Socket.SocketOpenError({ kind: "Timeout", cause: new Error("the server does not answer") })
  })

/** How long the server may take to accept a connection, and to welcome the client. */
const patience = ({ hello }: State): Duration.Duration =>
  hello.hasLease
    ? Duration.clamp(Duration.millis(hello.heartbeat), { minimum: LEAST_WELCOME_TIMEOUT, maximum: WELCOME_TIMEOUT })
    : WELCOME_TIMEOUT

/** One connection, from the first line to its end; succeeds with why the server refused the client, if it did. */
const live = Effect.fnUntraced(function* (state: State, { heard }: User) {
  const { hello, outgoing, socket, terms } = state
  state.connections++
  state.maxLine = MIN_LINE_BYTES
  const duration = patience(state)
  const pull = yield* Effect.timeoutOrElse(Socket.readerBytes(socket), {
    duration,
    orElse: () => Effect.fail(openTimeout())
  })
  const writer = yield* socket.writer
  const send = yield* outgoing.open(writer)
  const lease = new Lease(state.stopwatch, hello.heartbeat)
  const present: Present = { lease, asked: false, awaited: false }
  state.present = present
  terms.open({
    lease,
    beginning: yield* FiberHandle.make<void>(),
    ping: (text) => outgoing.add({ _tag: "Ping", text }),
    yield: () => {
      outgoing.add({ _tag: "Yield" })
      lease.restart()
    }
  })
  sayHello(state, present)
  const unwelcome: Effect.Effect<End> = Effect.flatMap(Effect.sleep(duration), () =>
    isAdmitted(state) ? Effect.never : Effect.succeed({})
  )
  const { led, refusal } = yield* Effect.onInterrupt(
    Effect.raceAllFirst([read(state, present, pull, heard), unwelcome, keep(state, lease), send]),
    () => quit(state, writer)
  )
  if (led && terms.isGranted) {
    // The server may still hear this client. Once the work has ended, the next need not wait.
    if (terms.works === 0) yield* quit(state, writer)
  } else if (led) {
    // The server promotes the next leader once this connection closes: until then this one has time to stop.
    yield* Effect.sleep(hello.heartbeat / 2)
  }
  return refusal
}, Effect.scoped)

/** The same, whatever happens in it; when it succeeds, nothing of the connection is left. */
const liveAndEnd = Effect.fnUntraced(function* (state: State, user: User) {
  const refusal = yield* live(state, user).pipe(
    Effect.catchTag("SocketError", (error) => Effect.as(SubscriptionRef.set(state.failure, error), undefined)),
    Effect.catchDefect((defect) => Effect.as(Effect.logError("connecting again after a defect", defect), undefined)),
    Effect.onExit(() =>
      Effect.suspend(() => {
        state.outgoing.close()
        state.present = undefined
        const left = Effect.andThen(SubscriptionRef.set(state.standing, undefined), state.terms.closed)
        return Effect.andThen(left, user.broken)
      })
    )
  )
  yield* SubscriptionRef.set(state.refused, refusal)
})

/** Connects nothing yet: `run` does. Fails with `malformed` if an option is none that a server takes. */
export const make = Effect.fnUntraced(function* (
  options: ConnectionOptions
): Effect.fn.Return<Connection, Rejected, Socket.Socket> {
  const { heartbeat, identity, lease, leaseHeartbeat } = yield* decode(options)
  const state: State = {
    socket: yield* Socket.Socket,
    stopwatch: yield* Stopwatch.make,
    hello: new NextHello(identity, heartbeat, lease),
    terms: yield* Terms.make,
    outgoing: new SendQueue(),
    standing: yield* SubscriptionRef.make<Standing | undefined>(undefined),
    refused: yield* SubscriptionRef.make<Rejected | undefined>(undefined),
    failure: yield* SubscriptionRef.make<Socket.SocketError | undefined>(undefined),
    limits: yield* SubscriptionRef.make<ServerLimits | undefined>(undefined),
    maxLine: MIN_LINE_BYTES,
    connections: 0,
    present: undefined
  }
  const { failure, hello, limits, outgoing, refused, standing, terms } = state
  const longestWait = () => {
    if (terms.present !== undefined) return WAIT_AT_WORK
    return hello.hasLease ? Math.max(WAIT_AT_WORK, hello.heartbeat / 2) : Number.POSITIVE_INFINITY
  }
  return {
    standing,
    refused,
    failure,
    limits,
    terms,
    leaseHeartbeat,
    requestLease: Effect.sync(() => {
      if (hello.hasLease) return
      hello.lease(leaseHeartbeat)
      // Before its welcome the client cannot ask twice: it asks then.
      if (state.present !== undefined && !state.present.awaited) sayHello(state, state.present)
    }),
    say: (message, sent) =>
      Effect.suspend(() => {
        outgoing.add(message, sent)
        return outgoing.room
      }),
    tell: (message) => outgoing.add(message),
    want: (identity) => hello.request(identity),
    maxLine: () => state.maxLine,
    connection: () => state.connections,
    run: (user) => Effect.raceFirst(reconnecting(liveAndEnd(state, user), longestWait), terms.run)
  }
})
