/**
 * One client's link to a server: connected, again whenever it has to be, under the
 * name and in the group that it last had. It knows where the client stands; what
 * is said over it, and what that is for, is its user's matter.
 */
import { Duration, Effect, Random, Schema, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import * as Json from "../protocol/Json.ts"
import { Lines, Next } from "../protocol/Lines.ts"
import { type ClientMessage, Reason, type ServerMessage } from "../protocol/Message.ts"
import * as Text from "../protocol/Text.ts"

/** What a client asks to be known by, and the group that it asks to be in. */
export interface Identity {
  readonly name?: string
  readonly group?: string
}

/** Where this client stands. */
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
  /** Says it where there is a connection; what cannot be said any more, nobody waits for. */
  readonly say: (message: ClientMessage) => Effect.Effect<void>
  /** Bytes that a line of this client has at most, as the server last said. */
  readonly maxLine: () => number
  /** Tells one connection from the next. */
  readonly connection: () => number
  readonly run: (user: User) => Effect.Effect<never>
}

/** A line of the server's own may hold a whole roster. */
const MAX_LINE_BYTES = 64 * 1024 * 1024

/** The first and the longest wait before it is tried to connect again; each is up to half shorter, by chance. */
const FIRST_WAIT = Duration.millis(100)
const LONGEST_WAIT = Duration.seconds(5)

/** The version of the protocol that is spoken. */
export const PROTOCOL = 1

const OPEN_BRACE = 0x7b

const utf8 = new TextDecoder()

export const make = Effect.fnUntraced(function* (identity: Identity): Effect.fn.Return<Link, never, Socket.Socket> {
  const socket = yield* Socket.Socket
  const standing = yield* SubscriptionRef.make<Standing | undefined>(undefined)
  const refused = yield* SubscriptionRef.make<Rejected | undefined>(undefined)
  let write: ((message: ClientMessage) => Effect.Effect<void, Socket.SocketError>) | undefined
  let connections = 0
  let failures = 0
  let wanted = identity
  let maxLine = Number.POSITIVE_INFINITY

  const say: Link["say"] = (message) => Effect.suspend(() => Effect.ignore(write?.(message) ?? Effect.void))

  /** Notes what it says of this client itself; whether the connection is still worth having. */
  const note = Effect.fnUntraced(function* (message: ServerMessage) {
    const now = SubscriptionRef.getUnsafe(standing)
    switch (message._tag) {
      case "Welcome": {
        failures = 0
        const { epoch, group, member, rank, size } = message
        maxLine = message.maxLine
        wanted = { ...wanted, group }
        yield* SubscriptionRef.set(refused, undefined)
        yield* SubscriptionRef.set(standing, { epoch, group, member, rank, size })
        break
      }
      case "Rank": {
        const { epoch, member, rank, size } = message
        // Before it is welcomed it may be ranked in another group than the one that it asks for.
        if (now !== undefined) yield* SubscriptionRef.set(standing, { ...now, epoch, member, rank, size })
        break
      }
      case "Named":
        if (message.member === now?.member) wanted = { ...wanted, name: message.name }
        break
      case "Ping":
        yield* say({ _tag: "Pong" })
        break
      case "Error":
        if (now !== undefined) break
        yield* SubscriptionRef.set(refused, rejected(message))
        return false
    }
    return true
  })

  /** One connection, from the first line to its end. */
  const session = Effect.fnUntraced(
    function* ({ heard }: User) {
      const pull = yield* Socket.readerBytes(socket)
      const writer = yield* socket.writer
      const lines = new Lines(MAX_LINE_BYTES)
      connections++
      write = (message) => writer.write(`${Json.writeClient(message)}\n`)
      yield* say({ _tag: "Hello", protocol: PROTOCOL, ...wanted })
      while (true) {
        for (const chunk of yield* pull) {
          lines.push(chunk)
          for (let next = lines.next(); next !== Next.More; next = lines.next()) {
            if (next === Next.TooLong) return
            const line = utf8.decode(lines.bytes.subarray(lines.start, lines.end))
            // Before it knows that this client speaks JSON, the server speaks text.
            const read = lines.bytes[lines.start] === OPEN_BRACE ? Json.readServer : Text.readServer
            const message = read(line)
            if (message._tag === "Failure") {
              yield* Effect.annotateLogs(Effect.logWarning("not understood"), { line: line.slice(0, 200) })
              continue
            }
            if (!(yield* note(message.success))) return
            yield* heard(message.success)
          }
        }
      }
    },
    (session, { broken }) =>
      Effect.ensuring(
        Effect.ignore(Effect.scoped(session)),
        Effect.suspend(() => {
          write = undefined
          return Effect.andThen(SubscriptionRef.set(standing, undefined), broken)
        })
      )
  )

  const pause = Effect.flatMap(Random.next, (chance) => {
    const wait = Math.min(Duration.toMillis(LONGEST_WAIT), Duration.toMillis(FIRST_WAIT) * 2 ** failures++)
    return Effect.sleep(Duration.millis(wait * (0.5 + chance / 2)))
  })

  return {
    standing,
    refused,
    say,
    maxLine: () => maxLine,
    connection: () => connections,
    run: (user) => Effect.forever(Effect.andThen(session(user), pause))
  }
})
