/**
 * One client's link to a server: connected, again whenever it has to be, under the
 * name and in the group that it last had. It knows where the client stands; what
 * is said over it, and what that is for, is its user's matter.
 */
import { Clock, Duration, Effect, Latch, Queue, Random, Schema, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import { GroupName, Name, Secret } from "../protocol/Ids.ts"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import { Lines, Next } from "../protocol/Lines.ts"
import { type ClientMessage, Heartbeat, type ServerMessage } from "../protocol/Messages.ts"
import { Reason } from "../protocol/Reasons.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"
import { Lease } from "./Lease.ts"

/** What a client asks to be known by, and the group that it asks to be in. */
export interface Identity {
  /** 1-64 of `A-Z a-z 0-9 . _ -`, not like a member id (`m1`); none by default. */
  readonly name?: string
  /** 1-64 of `A-Z a-z 0-9 . _ -`; `default` by default. */
  readonly group?: string
  /** What it shows to be let in, where the server asks for a token. */
  readonly token?: string
}

export interface LinkOptions extends Identity {
  /**
   * 5 seconds by default; from 0.1 to 3600. A server that was not heard for two of them
   * counts as gone; so does, for the server, a client that was not for two and a half.
   */
  readonly heartbeat?: Duration.Input
}

const decodeOptions = Schema.decodeUnknownEffect(
  Schema.Struct({
    name: Schema.optionalKey(Name),
    group: Schema.optionalKey(GroupName),
    token: Schema.optionalKey(Secret),
    heartbeat: Heartbeat
  })
)

/** As the server last told it: `size` and `epoch` are of when this client's own rank last changed. */
export interface Standing {
  readonly member: string
  readonly group: string
  readonly rank: number
  readonly size: number
  readonly epoch: number
}

/** The server rejected what was said, as a whole. */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  reason: Reason,
  detail: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return this.detail === undefined ? this.reason : `${this.reason}: ${this.detail}`
  }
}

export const rejected = ({ detail, reason }: ServerMessage & { _tag: "Error" }): Rejected =>
  new Rejected(detail === undefined ? { reason } : { reason, detail })

/** What is told of a link. */
export interface User {
  /** What the server says; where the client stands is known by then. */
  readonly heard: (message: ServerMessage) => Effect.Effect<void>
  /** The connection has ended; it had been admitted, or not. */
  readonly broken: Effect.Effect<void>
}

export interface Link {
  /** Undefined while it is not admitted. */
  readonly standing: SubscriptionRef.SubscriptionRef<Standing | undefined>
  /** Why the server did not admit it when it last asked, as `name taken`; undefined where it did, or did not answer. */
  readonly refused: SubscriptionRef.SubscriptionRef<Rejected | undefined>
  /** Why the last connection was not made, or broke; undefined until one did. Being admitted does not undo it. */
  readonly failure: SubscriptionRef.SubscriptionRef<Socket.SocketError | undefined>
  /**
   * Says it, if there is a connection, and then waits while much is yet to be
   * sent. It is said, even if the waiting is interrupted. `handed` is called when
   * the socket gets it; what never gets there, the server never had.
   */
  readonly say: (message: ClientMessage, handed?: () => void) => Effect.Effect<void>
  /** Says it, if there is a connection, and waits for nothing. */
  readonly tell: (message: ClientMessage) => void
  /** What to ask to be the next time that it connects. */
  readonly want: (identity: Identity) => void
  /** Bytes that a line of this client has at most: as the server says, and little before it does. */
  readonly maxLine: () => number
  /** Tells one connection from the next. */
  readonly connection: () => number
  readonly run: (user: User) => Effect.Effect<never>
}

/** A line of the server's own may hold a whole roster. */
const MAX_LINE_BYTES = 64 * 1024 * 1024

/** What every server takes for a line. */
const LEAST_MAX_LINE_BYTES = 512

/** While so many bytes wait to be sent, who says more waits, too. */
const MAX_PENDING_BYTES = 1024 * 1024

/** So many bytes, and what more their last line has, go to the socket at a time. */
const WRITE_BYTES = 65_536

/** The first and the longest wait before it is tried to connect again; each is up to half shorter, by chance. */
const FIRST_WAIT = Duration.millis(100)
const LONGEST_WAIT = Duration.seconds(5)

/** A server that is gone is found out within two of them: 10 seconds. */
const HEARTBEAT = Duration.seconds(5)

/** A server that does not welcome within that is not waited for any longer; in milliseconds. */
const WELCOME_TIMEOUT = 5000

/** How long saying goodbye may take, where the server does not read. */
const QUIT_TIMEOUT = "500 millis"

/** The version of the protocol that is spoken. */
export const PROTOCOL = 1

const OPEN_BRACE = 0x7b

const utf8 = new TextDecoder()

interface Line {
  readonly text: string
  readonly handed: (() => void) | undefined
}

export const make = Effect.fnUntraced(function* ({
  heartbeat: interval = HEARTBEAT,
  ...identity
}: LinkOptions): Effect.fn.Return<Link, Rejected, Socket.Socket> {
  const { heartbeat, ...decoded } = yield* Effect.mapError(
    decodeOptions({ ...identity, heartbeat: Duration.toMillis(interval) }),
    ({ message }) => new Rejected({ reason: "malformed", detail: message })
  )
  let wanted: Identity = decoded
  /** By which it is the member that it was, where the server holds its place. */
  let secret: { readonly resume?: string } = {}
  const clock = yield* Clock.Clock
  const socket = yield* Socket.Socket
  const standing = yield* SubscriptionRef.make<Standing | undefined>(undefined)
  const refused = yield* SubscriptionRef.make<Rejected | undefined>(undefined)
  const failure = yield* SubscriptionRef.make<Socket.SocketError | undefined>(undefined)
  /** What waits to be sent over the connection; none while there is no connection. */
  let outgoing: Queue.Queue<Line> | undefined
  let pending = 0
  const room = Latch.makeUnsafe(true)
  let connections = 0
  let failures = 0
  let maxLine = LEAST_MAX_LINE_BYTES

  const enqueue = (message: ClientMessage, handed?: () => void) => {
    if (outgoing === undefined) return
    const text = `${jsonCodec.encodeClient(message)}\n`
    pending += text.length
    if (pending > MAX_PENDING_BYTES) room.closeUnsafe()
    Queue.offerUnsafe(outgoing, { text, handed })
  }

  /** Sends what is said; what has been taken by the socket may have reached the server. */
  const sending = (writer: Socket.Writer, lines: Queue.Queue<Line>) =>
    Effect.gen(function* () {
      const waiting: Array<Line> = yield* Queue.takeAll(lines)
      while (waiting.length > 0) {
        let text = ""
        while (waiting.length > 0 && text.length < WRITE_BYTES) {
          const line = waiting.shift()!
          line.handed?.()
          text += line.text
        }
        yield* writer.write(text)
        pending -= text.length
        if (pending <= MAX_PENDING_BYTES) room.openUnsafe()
      }
    }).pipe(Effect.forever)

  /** Notes what it says of this client itself; whether that is of any interest to the user. */
  const note = Effect.fnUntraced(function* (message: ServerMessage, lease: Lease) {
    const now = SubscriptionRef.getUnsafe(standing)
    switch (message._tag) {
      case "Welcome": {
        const { epoch, group, member, rank, size } = message
        maxLine = message.maxLine
        wanted = { ...wanted, group }
        secret = message.resume === undefined ? {} : { resume: message.resume }
        yield* SubscriptionRef.set(refused, undefined)
        yield* SubscriptionRef.set(standing, { epoch, group, member, rank, size })
        return true
      }
      case "Rank": {
        const { epoch, member, rank, size } = message
        // Before it is welcomed it may be ranked in another group than the one that it asks for.
        if (now !== undefined) yield* SubscriptionRef.set(standing, { ...now, epoch, member, rank, size })
        return true
      }
      case "Named":
        if (message.member === now?.member) wanted = { ...wanted, name: message.name }
        return true
      case "Ping":
        enqueue({ _tag: "Pong" })
        return false
      case "Pong":
        return !lease.answered(message.text)
      default:
        return true
    }
  })

  /** One connection, from the first line to its end; succeeds with why the server did not want it, if it said so. */
  const session = Effect.fnUntraced(function* ({ heard }: User) {
    connections++
    maxLine = LEAST_MAX_LINE_BYTES
    const pull = yield* Socket.readerBytes(socket)
    const writer = yield* socket.writer
    const queue = yield* Queue.unbounded<Line>()
    const lines = new Lines(MAX_LINE_BYTES)
    outgoing = queue
    pending = 0
    room.openUnsafe()
    const lease = new Lease(clock, heartbeat)
    enqueue({ _tag: "Hello", protocol: PROTOCOL, ...wanted, ...secret, heartbeat })
    const admitted = () => SubscriptionRef.getUnsafe(standing) !== undefined
    let pause = 0
    /** Whoever counts on the standing is to stop at once, and a leader is given time for it: the server promotes the next when the connection is closed. */
    const giveUp = Effect.suspend(() => {
      if (SubscriptionRef.getUnsafe(standing)?.rank === 0) pause = heartbeat / 2
      return Effect.as(SubscriptionRef.set(standing, undefined), undefined)
    })

    const reading = Effect.gen(function* () {
      while (true) {
        const chunks = yield* pull
        // A process that was stopped may come to read before its timers run.
        if (lease.left <= 0) return yield* giveUp
        for (const chunk of chunks) {
          lines.push(chunk)
          for (let next = lines.next(); next !== Next.More; next = lines.next()) {
            if (next === Next.TooLong) return undefined
            const line = utf8.decode(lines.bytes.subarray(lines.start, lines.end))
            // Before it knows that this client speaks JSON, the server speaks text.
            const read = lines.bytes[lines.start] === OPEN_BRACE ? jsonCodec.decodeServer : textCodec.decodeServer
            const message = read(line)
            if (message._tag === "Failure") {
              yield* Effect.annotateLogs(Effect.logWarning("not understood"), { line: line.slice(0, 200) })
              continue
            }
            const said = message.success
            if (said._tag === "Error" && !admitted()) return rejected(said)
            if (yield* note(said, lease)) yield* heard(said)
          }
        }
      }
    })

    const welcomed = Effect.flatMap(Effect.sleep(WELCOME_TIMEOUT), () => (admitted() ? Effect.never : Effect.undefined))

    const keeping = Effect.gen(function* () {
      while (lease.left > 0) {
        const text = lease.ping()
        if (text !== undefined) enqueue({ _tag: "Ping", text })
        yield* Effect.sleep(lease.wait)
      }
      return yield* giveUp
    })

    // Who ends by itself leaves for good, and its place is not to be held for it.
    const quit = Effect.suspend(() =>
      secret.resume === undefined
        ? Effect.void
        : Effect.ignore(
            Effect.timeoutOption(writer.write(`${jsonCodec.encodeClient({ _tag: "Quit" })}\n`), QUIT_TIMEOUT)
          )
    )
    const refusal = yield* Effect.onInterrupt(
      Effect.raceAllFirst([reading, welcomed, keeping, sending(writer, queue)]),
      () => quit
    )
    yield* Effect.sleep(pause)
    return refusal
  }, Effect.scoped)

  /** A connection, and the time after it until the next. */
  const attempt = Effect.fnUntraced(function* (user: User) {
    const start = yield* Clock.currentTimeMillis
    const refusal = yield* session(user).pipe(
      Effect.catchTag("SocketError", (error) => Effect.as(SubscriptionRef.set(failure, error), undefined)),
      Effect.catchDefect((defect) =>
        Effect.as(Effect.logError("the connection is made anew after", defect), undefined)
      ),
      Effect.onExit(() =>
        Effect.suspend(() => {
          outgoing = undefined
          room.openUnsafe()
          return Effect.andThen(SubscriptionRef.set(standing, undefined), user.broken)
        })
      )
    )
    yield* SubscriptionRef.set(refused, refusal)
    // One that does not last is no success, however often it begins.
    if ((yield* Clock.currentTimeMillis) - start > Duration.toMillis(LONGEST_WAIT)) failures = 0
    const wait = Math.min(Duration.toMillis(LONGEST_WAIT), Duration.toMillis(FIRST_WAIT) * 2 ** failures++)
    yield* Effect.sleep(Duration.millis(wait * (0.5 + (yield* Random.next) / 2)))
  })

  return {
    standing,
    refused,
    failure,
    tell: enqueue,
    want: (identity) => {
      wanted = { ...wanted, ...identity }
    },
    say: (message, handed) =>
      Effect.suspend(() => {
        enqueue(message, handed)
        return room.await
      }),
    maxLine: () => maxLine,
    connection: () => connections,
    run: (user) => Effect.forever(attempt(user))
  }
})
