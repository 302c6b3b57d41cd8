/**
 * `rankd connect` with a script: lines of the protocol from standard input, one
 * after the other has ended, and what the server says of them on standard output.
 */
import { isUtf8 } from "node:buffer"
import { Console, Deferred, Effect, Result, Stream } from "effect"
import { Stdio } from "effect/Stdio"
import { Lines, Next } from "../protocol/Lines.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"
import * as Connection from "./connection.ts"
import { exitStatusOf, OpenCommands, UNKNOWN } from "./outcomes.ts"
import { json, printable } from "./terminal.ts"
import { read, rejection } from "./typed.ts"

/** What is said of this client, not of what it asked. */
const NEWS: ReadonlySet<string> = new Set(["Welcome", "Rank", "Ping", "Exec", "Cancel"])

/** A `PING` with this text follows what has no other end: by its `PONG` all is said. */
const BARRIER = `barrier ${process.pid} ${Date.now()}`

const LF = 0x0a

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

export const run = Effect.fnUntraced(function* (options: Connection.Connecting) {
  const link = yield* Connection.link(options)
  const open = new OpenCommands()
  const lost = yield* Deferred.make<void>()
  let ended = yield* Deferred.make<void>()
  let status = 0
  let admitted = false

  const print = (message: ServerMessage) => {
    status = Math.max(status, exitStatusOf(message))
    // In text it cannot be told.
    const cut = message._tag === "Result" && message.truncated && !options.json
    return Effect.andThen(
      Console.log(options.json ? json(message) : printable(textCodec.encodeServer(message))),
      cut ? Console.error(`rankd: the output of #${message.id} at rank ${message.rank} was cut`) : Effect.void
    )
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

  /** Says what one line says, and waits until all is said of it; whether there may be more. */
  const perform = Effect.fnUntraced(function* (line: string) {
    if (/^\s*(?:#|$)/.test(line)) return true
    const said = read(line, link)
    if (Result.isFailure(said)) {
      yield* print(said.failure)
      return true
    }
    const message = said.success
    if (message._tag === "Quit") return false
    ended = yield* Deferred.make<void>()
    open.said(message)
    yield* link.say(message)
    if (message._tag !== "Exec" || message.id === undefined) yield* link.say({ _tag: "Ping", text: BARRIER })
    yield* Deferred.await(ended)
    return true
  })

  /** Does the same for all lines that there are. */
  const performAll = Effect.fnUntraced(function* (lines: Lines) {
    for (let next = lines.next(); next !== Next.More; next = lines.next()) {
      if (next === Next.TooLong) {
        const detail = `at most ${link.maxLine()} bytes; the rest was not sent`
        yield* print(rejection(link, { reason: "line too long", detail }))
        return false
      }
      const bytes = lines.bytes.subarray(lines.start, lines.end)
      if (!isUtf8(bytes)) yield* print(rejection(link, { reason: "malformed", detail: "a line is UTF-8" }))
      else if (!(yield* perform(utf8.decode(bytes)))) return false
    }
    return true
  })

  yield* Effect.forkScoped(link.run({ heard, broken }))
  yield* Connection.ranked(options, link)
  const { stdin } = yield* Stdio
  const lines = new Lines(link.maxLine())
  // The last line needs no end.
  const script = Stream.runForEachWhile(Stream.concat(stdin, Stream.make(new Uint8Array([LF]))), (chunk) => {
    lines.push(chunk)
    return performAll(lines)
  })
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
