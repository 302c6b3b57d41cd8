/**
 * `rankd connect` with a script: lines of the protocol from standard input, one
 * after the other has ended, and what the server says of them on standard output.
 */
import { Console, Deferred, Effect, Result, Stream } from "effect"
import { Stdio } from "effect/Stdio"
import type { ServerMessage } from "../protocol/Message.ts"
import * as Text from "../protocol/Text.ts"
import * as Connection from "./connection.ts"
import { exitStatusOf, OpenCommands, UNKNOWN } from "./outcomes.ts"
import { json, printable } from "./terminal.ts"
import { read } from "./typed.ts"

/** What is said of this client, not of what it asked. */
const NEWS: ReadonlySet<string> = new Set(["Welcome", "Rank", "Ping", "Exec", "Cancel"])

/** A `PING` with this text follows what has no other end: by its `PONG` all is said. */
const BARRIER = "rankd-connect"

export const run = Effect.fnUntraced(function* (options: Connection.Connecting) {
  const link = yield* Connection.link(options)
  const open = new OpenCommands()
  const lost = yield* Deferred.make<void>()
  let ended = yield* Deferred.make<void>()
  let status = 0
  let admitted = false

  const print = (message: ServerMessage) => {
    status = Math.max(status, exitStatusOf(message))
    return Console.log(options.json ? json(message) : printable(Text.writeServer(message)))
  }

  const heard = Effect.fnUntraced(function* (message: ServerMessage) {
    admitted = true
    // A script executes nothing, and says so.
    if (message._tag === "Exec" && message.id !== undefined) {
      return yield* link.say({ _tag: "Result", id: message.id, status: "denied" })
    }
    if (message._tag === "Pong" && message.text === BARRIER) return yield* Deferred.succeed(ended, undefined)
    if (!NEWS.has(message._tag)) yield* print(message)
    if (open.heard(message) !== undefined) yield* Deferred.succeed(ended, undefined)
  })

  const broken = Effect.gen(function* () {
    if (!admitted) return
    for (const id of open.lost()) {
      yield* Console.log(options.json ? json({ _tag: "Result", id, status: "lost" }) : `RESULT#${id} - lost`)
    }
    yield* Deferred.succeed(lost, undefined)
  })

  /** Says what one line says, and waits until all is said of it. */
  const perform = Effect.fnUntraced(function* (line: string) {
    const said = read(line, link)
    if (Result.isFailure(said)) return yield* print(said.failure)
    const message = said.success
    ended = yield* Deferred.make<void>()
    open.said(message)
    yield* link.say(message)
    if (message._tag !== "Exec" || message.id === undefined) yield* link.say({ _tag: "Ping", text: BARRIER })
    yield* Deferred.await(ended)
  })

  yield* Effect.forkScoped(link.run({ heard, broken }))
  yield* Connection.ranked(options, link)
  const { stdin } = yield* Stdio
  const script = stdin.pipe(
    Stream.decodeText,
    Stream.splitLines,
    Stream.filter((line) => !/^\s*(?:#|$)/.test(line)),
    Stream.takeWhile((line) => !/^quit$/i.test(line)),
    Stream.runForEach(perform)
  )
  const interrupted = Effect.andThen(
    Deferred.await(lost),
    Console.error("rankd: connection lost; the rest was not sent")
  )
  yield* Effect.raceFirst(
    script,
    Effect.tap(interrupted, () =>
      Effect.sync(() => {
        status = Math.max(status, UNKNOWN)
      })
    )
  )
  if (status !== 0) return yield* new Connection.ExitStatus({ status })
}, Effect.scoped)
