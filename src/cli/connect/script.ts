/**
 * `rankd connect` with a script on standard input: sends a line of the protocol, waits until it has ended, prints the
 * server's answers on standard output, and continues with the next line. The exit status is the largest of the outcomes.
 */
import { isUtf8 } from "node:buffer"
import { Console, Deferred, Effect, Result, Stream } from "effect"
import { Stdio } from "effect/Stdio"
import type { Connection } from "../../client/Connection.ts"
import { Lines, Next } from "../../protocol/Lines.ts"
import type { ServerMessage } from "../../protocol/Messages.ts"
import { textCodec } from "../../protocol/text/TextCodec.ts"
import * as Client from "../connection/client.ts"
import { ExitStatus } from "../connection/failures.ts"
import type { Connecting } from "../connection/flags.ts"
import { ranked } from "../connection/ranked.ts"
import { stdout } from "../output/output.ts"
import { say } from "../say.ts"
import { json, printable } from "../terminal/text.ts"
import { Asked } from "./Asked.ts"
import { cancelAll } from "./cancel.ts"
import { exitStatusOf, OpenCommands, UNKNOWN } from "./outcomes.ts"
import { read, rejection } from "./typed.ts"

/** A `PING` with this text follows a line that has no other end: its `PONG` comes after all answers. */
const BARRIER = `barrier ${process.pid} ${Date.now()}`

const LF = 0x0a

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

class Script {
  /** The largest exit status so far. */
  status = 0
  readonly #link: Connection
  readonly #json: boolean
  readonly #asked = new Asked()
  readonly #open = new OpenCommands()
  readonly #lost = Deferred.makeUnsafe<void>()
  /** The line that was sent last has ended. */
  #ended = Deferred.makeUnsafe<void>()
  #admitted = false

  constructor(link: Connection, { json }: Connecting) {
    this.#link = link
    this.#json = json
  }

  heard(message: ServerMessage): Effect.Effect<void> {
    this.#admitted = true
    // A script executes nothing, and says so.
    if (message._tag === "Exec" && message.id !== undefined) {
      return this.#link.say({ _tag: "Result", id: message.id, status: "denied" })
    }
    if (message._tag === "Pong" && message.text === BARRIER) return Deferred.succeed(this.#ended, undefined)
    const printed = this.#asked.answeredBy(message) ? this.#print(message) : this.#printNews(message)
    const ended = Effect.sync(() => this.#open.heard(message))
    // Printed first: the end of the last command may end the script.
    return Effect.flatMap(Effect.andThen(printed, ended), (id) =>
      id === undefined ? Effect.void : Deferred.succeed(this.#ended, undefined)
    )
  }

  readonly broken = Effect.suspend(() => {
    if (!this.#admitted) return Effect.void
    const lost = this.#open.lost()
    return Effect.forEach(lost, (id) =>
      Console.log(this.#json ? json({ _tag: "Result", id, status: "lost" }) : `RESULT#${id} - lost`)
    ).pipe(Effect.andThen(Deferred.succeed(this.#lost, undefined)))
  })

  readonly cancel = Effect.suspend(() =>
    cancelAll(this.#link, this.#open, (message) => say(this.#json, "Notice", message))
  )

  /** Waits until the connection is lost. */
  readonly disconnected = Effect.suspend(() => Deferred.await(this.#lost)).pipe(
    Effect.andThen(Effect.suspend(() => say(this.#json, "Failed", "connection lost; the rest was not sent"))),
    Effect.tap(() =>
      Effect.sync(() => {
        this.status = Math.max(this.status, UNKNOWN)
      })
    )
  )

  /** Performs the lines of standard input, until one of them is the last. */
  readonly perform = Effect.gen({ self: this }, function* () {
    const { stdin } = yield* Stdio
    const lines = new Lines(this.#link.maxLine())
    // The last line needs no end.
    const input = Stream.concat(stdin, Stream.make(new Uint8Array([LF])))
    yield* Stream.runForEachWhile(input, (chunk) => {
      lines.push(chunk)
      return this.#performAll(lines)
    })
  })

  /** Performs the lines that are there; whether there may be more. */
  readonly #performAll = Effect.fnUntraced({ self: this }, function* (lines: Lines) {
    for (let next = lines.next(); next !== Next.More; next = lines.next()) {
      if (next === Next.TooLong) {
        const detail = `at most ${this.#link.maxLine()} bytes; the rest was not sent`
        yield* this.#print(rejection(this.#link, { reason: "line too long", detail }))
        return false
      }
      const bytes = lines.bytes.subarray(lines.start, lines.end)
      if (!isUtf8(bytes)) yield* this.#print(rejection(this.#link, { reason: "malformed", detail: "a line is UTF-8" }))
      else if (!(yield* this.#performLine(utf8.decode(bytes)))) return false
    }
    return true
  })

  /** Sends one line and waits until it has ended; whether there may be more. */
  readonly #performLine = Effect.fnUntraced({ self: this }, function* (line: string) {
    if (/^\s*(?:#|$)/.test(line)) return true
    const typed = read(line, this.#link)
    if (Result.isFailure(typed)) {
      yield* this.#print(typed.failure)
      return true
    }
    const message = typed.success
    if (message._tag === "Quit") return false
    // However slow the reader is, the answers to one line are all that waits.
    yield* stdout.drained
    this.#ended = Deferred.makeUnsafe()
    this.#open.sent(message)
    this.#asked.sent(message)
    yield* this.#link.say(message)
    if (message._tag !== "Exec" || message.id === undefined) yield* this.#link.say({ _tag: "Ping", text: BARRIER })
    yield* Deferred.await(this.#ended)
    return true
  })

  #print(message: ServerMessage): Effect.Effect<void> {
    this.status = Math.max(this.status, exitStatusOf(message))
    const line = Console.log(this.#shown(message))
    // Text has no mark for it.
    const cut = message._tag === "Result" && message.truncated && !this.#json
    return cut
      ? Effect.andThen(line, say(false, "Notice", `the output of #${message.id} at rank ${message.rank} was cut`))
      : line
  }

  /** Why the connection ends is the only news that the user of a script needs. */
  #printNews(message: ServerMessage): Effect.Effect<void> {
    return message._tag === "Bye" ? Console.error(this.#shown(message)) : Effect.void
  }

  #shown(message: ServerMessage): string {
    return this.#json ? json(message) : printable(textCodec.encodeServer(message))
  }
}

export const run = Effect.fnUntraced(function* (options: Connecting) {
  const link = yield* Client.link(options)
  const script = new Script(link, options)
  yield* Effect.forkScoped(link.run({ heard: (message) => script.heard(message), broken: script.broken }))
  yield* ranked(options, link)
  yield* Effect.onInterrupt(Effect.raceFirst(script.perform, script.disconnected), () => script.cancel)
  if (script.status !== 0) return yield* new ExitStatus({ status: script.status })
}, Effect.scoped)
