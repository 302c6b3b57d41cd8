/**
 * A client's connection to a server: the life of each connection from `Hello` to its end, and the
 * next one after it. It owns where the client stands; what the messages are for is its user's matter.
 *
 * Invariants: `standing` is defined only while the server has welcomed this client, the connection is open
 * and the lease (`Lease`) runs. The user hears every message of the server in order, then `broken` once for
 * each connection, and nothing between `broken` and the next connection.
 */
import { Clock, Effect, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import { codecOf } from "../protocol/codecs.ts"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import { Lines, MIN_LINE_BYTES, Next } from "../protocol/Lines.ts"
import type { ClientMessage, ServerMessage } from "../protocol/Messages.ts"
import { type ConnectionOptions, decode, type Identity } from "./Identity.ts"
import { Lease } from "./Lease.ts"
import { NextHello, reconnecting } from "./Reconnect.ts"
import { type Rejected, rejectedBy } from "./Rejected.ts"
import { SendQueue } from "./SendQueue.ts"

/** Where a client stands, as the server said last; `size` and `epoch` are from the last change of its own rank. */
export interface Standing {
  readonly member: string
  readonly group: string
  readonly rank: number
  readonly size: number
  readonly epoch: number
}

/** What the server says about itself when it admits the client. */
export interface ServerLimits {
  /** How long a command may take that asks for no timeout, in milliseconds. Older servers do not say it. */
  readonly commandTimeout: number | undefined
  /** The longest timeout that a command may ask for, in milliseconds. Older servers do not say it. */
  readonly maxCommandTimeout: number | undefined
}

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
  /** Sends a message if there is a connection, and does not wait. */
  readonly tell: (message: ClientMessage) => void
  /** Changes what the next `Hello` asks for. */
  readonly want: (identity: Identity) => void
  /** The longest line that this client may send, in bytes: 512 until the server says more. */
  readonly maxLine: () => number
  /** Milliseconds for which the client may count on its standing; zero or less while it may not. */
  readonly leaseLeft: () => number
  /** The number of the connection; each connection has another. */
  readonly connection: () => number
  /** Connects, and connects again whenever the connection ends. */
  readonly run: (user: User) => Effect.Effect<never>
}

/** Bytes of the longest line of a server: the roster of a large group is one line. */
const MAX_LINE_BYTES = 64 * 1024 * 1024

/** How long the server may take to welcome the client. */
const WELCOME_TIMEOUT = "5 seconds"

/** How long `Quit` may hold up the end of the client if the server does not read. */
const QUIT_TIMEOUT = "500 millis"

const utf8 = new TextDecoder()

/** What all connections of one client share. */
interface State extends Pick<Connection, "standing" | "refused" | "failure" | "limits"> {
  readonly socket: Socket.Socket
  readonly clock: Clock.Clock
  /** In milliseconds. */
  readonly heartbeat: number
  readonly hello: NextHello
  readonly outgoing: SendQueue
  maxLine: number
  connections: number
  lease: Lease | undefined
}

/** How this side ends a connection. */
interface End {
  /** Why the server did not admit the client. */
  readonly refusal?: Rejected
  /** Whether the client led until its lease expired. */
  readonly led?: boolean
}

const isAdmitted = ({ standing }: State): boolean => SubscriptionRef.getUnsafe(standing) !== undefined

/** The lease has expired: everything that counts on the standing must stop now. */
const expire = ({ standing }: State): Effect.Effect<End> =>
  Effect.suspend(() => {
    const led = SubscriptionRef.getUnsafe(standing)?.rank === 0
    return Effect.as(SubscriptionRef.set(standing, undefined), { led })
  })

/** Applies what a message says about this client; succeeds with whether the user hears it. */
const note = Effect.fnUntraced(function* (state: State, lease: Lease, message: ServerMessage) {
  const now = SubscriptionRef.getUnsafe(state.standing)
  if (now !== undefined && "epoch" in message && message.epoch !== undefined) state.hello.saw(now.group, message.epoch)
  switch (message._tag) {
    case "Welcome": {
      const { commandTimeout, epoch, group, maxCommandTimeout, member, rank, size } = message
      state.maxLine = message.maxLine
      state.hello.welcomed(message)
      yield* SubscriptionRef.set(state.refused, undefined)
      yield* SubscriptionRef.set(state.limits, { commandTimeout, maxCommandTimeout })
      yield* SubscriptionRef.set(state.standing, { epoch, group, member, rank, size })
      return true
    }
    case "Rank": {
      const { epoch, member, rank, size } = message
      // A rank before the welcome may be one in another group than the `Hello` asks for.
      if (now !== undefined) yield* SubscriptionRef.set(state.standing, { ...now, epoch, member, rank, size })
      return true
    }
    case "Named":
      if (message.member === now?.member) state.hello.request({ name: message.name })
      return true
    case "Ping":
      state.outgoing.add({ _tag: "Pong" })
      return false
    case "Pong":
      return !lease.answered(message.text)
    default:
      return true
  }
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
  lease: Lease,
  pull: Effect.Effect<ReadonlyArray<Uint8Array>, Socket.SocketError>,
  heard: User["heard"]
): Effect.fn.Return<End, Socket.SocketError> {
  const lines = new Lines(MAX_LINE_BYTES)
  while (true) {
    const chunks = yield* pull
    // After a pause of the process this may run before the timer of the lease does.
    if (lease.left <= 0) return yield* expire(state)
    for (const chunk of chunks) {
      lines.push(chunk)
      for (let next = lines.next(); next !== Next.More; next = lines.next()) {
        if (next === Next.TooLong) return {}
        const message = yield* messageOn(lines)
        if (message === undefined) continue
        if (message._tag === "Error" && !isAdmitted(state)) {
          const refusal = rejectedBy(message)
          if (!state.hello.isSimplerAfter(refusal)) return { refusal }
          state.outgoing.add(state.hello.message)
          continue
        }
        if (yield* note(state, lease, message)) yield* heard(message)
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

/** One connection, from the first line to its end; succeeds with why the server refused the client, if it did. */
const live = Effect.fnUntraced(function* (state: State, { heard }: User) {
  state.connections++
  state.maxLine = MIN_LINE_BYTES
  const pull = yield* Socket.readerBytes(state.socket)
  const writer = yield* state.socket.writer
  const send = yield* state.outgoing.open(writer)
  const lease = new Lease(state.clock, state.heartbeat)
  state.lease = lease
  state.outgoing.add(state.hello.message)
  const unwelcome: Effect.Effect<End> = Effect.flatMap(Effect.sleep(WELCOME_TIMEOUT), () =>
    isAdmitted(state) ? Effect.never : Effect.succeed({})
  )
  const { led, refusal } = yield* Effect.onInterrupt(
    Effect.raceAllFirst([read(state, lease, pull, heard), unwelcome, keep(state, lease), send]),
    () => quit(state, writer)
  )
  // The server promotes the next leader once this connection closes: until then this one has time to stop.
  if (led) yield* Effect.sleep(state.heartbeat / 2)
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
        return Effect.andThen(SubscriptionRef.set(state.standing, undefined), user.broken)
      })
    )
  )
  yield* SubscriptionRef.set(state.refused, refusal)
})

/** Connects nothing yet: `run` does. Fails with `malformed` if an option is none that a server takes. */
export const make = Effect.fnUntraced(function* (
  options: ConnectionOptions
): Effect.fn.Return<Connection, Rejected, Socket.Socket> {
  const { heartbeat, ...identity } = yield* decode(options)
  const state: State = {
    socket: yield* Socket.Socket,
    clock: yield* Clock.Clock,
    heartbeat,
    hello: new NextHello(identity, heartbeat),
    outgoing: new SendQueue(),
    standing: yield* SubscriptionRef.make<Standing | undefined>(undefined),
    refused: yield* SubscriptionRef.make<Rejected | undefined>(undefined),
    failure: yield* SubscriptionRef.make<Socket.SocketError | undefined>(undefined),
    limits: yield* SubscriptionRef.make<ServerLimits | undefined>(undefined),
    maxLine: MIN_LINE_BYTES,
    connections: 0,
    lease: undefined
  }
  const { failure, hello, limits, outgoing, refused, standing } = state
  return {
    standing,
    refused,
    failure,
    limits,
    say: (message, sent) =>
      Effect.suspend(() => {
        outgoing.add(message, sent)
        return outgoing.room
      }),
    tell: (message) => outgoing.add(message),
    want: (identity) => hello.request(identity),
    maxLine: () => state.maxLine,
    leaseLeft: () => (isAdmitted(state) ? (state.lease?.left ?? 0) : 0),
    connection: () => state.connections,
    run: (user) => reconnecting(liveAndEnd(state, user))
  }
})
