/**
 * Scenarios as transcripts: what clients say and hear, line by line. One runner
 * plays those of the tests in memory, and those of README and the docs on sockets.
 *
 * ```
 * a b c> connect           connects each of them; their first lines (`RANK`) are not shown
 * d> connect 10.0.0.1:5    connects from there, with a certificate: `d> connect 10.0.0.1:5 as boss`
 * a> EXEC 1 x              `a` says it. `a> nc 127.0.0.1 5000` connects, and so does a client's first appearance
 * b  EXEC 0 x              just this is the next line that `b` hears
 * b  (nothing)             `b` has heard nothing else so far
 * a> (end)                 `a` ends its side; with `(reset)` it breaks the connection
 * a  (closed)              the server has closed it, and `a` has heard nothing else
 * -- 2 seconds             time passes
 * # ...                    a comment
 * ```
 *
 * What a client says in several lines one after the other is sent in one piece. At the end nobody has heard
 * anything that is not in the transcript.
 */
import { assert } from "@effect/vitest"
import { Duration, Effect, type Scope } from "effect"
import type { MemorySocket } from "./MemorySocket.ts"
import { Network, passes, settled } from "./memoryServer.ts"
import { client, type Port, type WireClient } from "./wire.ts"

/** A client, as a transcript needs it. */
interface Actor {
  readonly send: (text: string) => void
  readonly end: () => void
  readonly reset: () => void
  /** Waits until the server has done what the client said. */
  readonly done: Effect.Effect<void>
  /** The next line; undefined where none comes. */
  readonly next: Effect.Effect<string | undefined>
  /** All lines that came and are not taken yet. */
  readonly rest: Effect.Effect<ReadonlyArray<string>>
  /** Whether the server has closed the connection. */
  readonly closed: Effect.Effect<boolean>
}

interface Stage<R> {
  readonly connect: (address: string | undefined, certificateName: string | undefined) => Effect.Effect<Actor, never, R>
  readonly passes: (duration: Duration.Input) => Effect.Effect<void>
  /** What differs from run to run, by what it is: wherever the same is printed, the same must be heard. */
  readonly varying: Readonly<Record<string, RegExp>>
}

interface Step {
  readonly line: string
  readonly names: ReadonlyArray<string>
  readonly kind: "says" | "hears" | "time"
  readonly text: string
}

const parse = (transcript: string): ReadonlyArray<Step> =>
  transcript.split("\n").flatMap((indented): ReadonlyArray<Step> => {
    const line = indented.trimStart()
    if (line === "" || line.startsWith("#")) return []
    if (line.startsWith("-- ")) return [{ line, names: [], kind: "time", text: line.slice(3) }]
    const [match, names = "", mark, text = ""] = /^(\w+(?: \w+)*?)(>| )(?: (.*))?$/.exec(line) ?? []
    if (match === undefined) throw new Error(`not a line of a transcript: ${line}`)
    return [{ line, names: names.split(" "), kind: mark === ">" ? "says" : "hears", text }]
  })

/** Which value of this run stands for a printed one, of each kind. */
class Bindings {
  readonly #varying: ReadonlyArray<readonly [kind: string, pattern: RegExp]>
  readonly #heard = new Map<string, string>()
  readonly #printed = new Map<string, string>()

  constructor(varying: Readonly<Record<string, RegExp>>) {
    this.#varying = Object.entries(varying)
  }

  /** A line of the transcript with the values of this run, as far as they are known. */
  ofThisRun(printed: string): string {
    return this.#replace(printed, (kind, value) => this.#heard.get(`${kind} ${value}`) ?? value)
  }

  /** A heard line with the values that are printed for those of this run. */
  asPrinted(heard: string): string {
    return this.#replace(heard, (kind, value) => this.#printed.get(`${kind} ${value}`) ?? value)
  }

  /** Takes values that are new, in print and to the ear, for one another. */
  learn(printed: string, heard: string): void {
    for (const [kind, pattern] of this.#varying) {
      const values = heard.match(pattern) ?? []
      for (const [at, value] of (printed.match(pattern) ?? []).entries()) {
        const its = values[at]
        if (its === undefined || this.#heard.has(`${kind} ${value}`) || this.#printed.has(`${kind} ${its}`)) continue
        this.#heard.set(`${kind} ${value}`, its)
        this.#printed.set(`${kind} ${its}`, value)
      }
    }
  }

  #replace(line: string, by: (kind: string, value: string) => string): string {
    return this.#varying.reduce((line, [kind, pattern]) => line.replace(pattern, (value) => by(kind, value)), line)
  }
}

const play = <R>(stage: Stage<R>, transcript: string, present: Readonly<Record<string, Actor>> = {}) =>
  Effect.gen(function* () {
    const steps = parse(transcript)
    const actors = new Map<string, Actor>(Object.entries(present))
    const bindings = new Bindings(stage.varying)
    /** The transcript as it happened. */
    const happened: Array<string> = []
    let speaker: string | undefined

    const enter = Effect.fnUntraced(function* (name: string, address?: string, certificateName?: string) {
      const actor = yield* stage.connect(address, certificateName)
      actors.set(name, actor)
      return actor
    })
    const actorOf = (name: string) => {
      const actor = actors.get(name)
      return actor === undefined ? enter(name) : Effect.succeed(actor)
    }
    const heardOf = (name: string, lines: ReadonlyArray<string>) =>
      lines.map((line) => `${name}  ${bindings.asPrinted(line)}`)
    /** Fails with the transcript beside what happened; which is what everybody heard besides, too. */
    const check = Effect.fnUntraced(function* (at: number, last: ReadonlyArray<string>) {
      const expected = steps.slice(0, at + 1).map(({ line }) => line)
      const actual = [...happened, ...last]
      if (actual.join("\n") === expected.join("\n")) return
      for (const [name, actor] of actors) actual.push(...heardOf(name, yield* actor.rest))
      assert.fail(actual.join("\n"), expected.join("\n"), `step ${at + 1} of ${steps.length} of a transcript`)
    })

    const says = Effect.fnUntraced(function* (name: string, text: string) {
      const [command, address, as, certificateName] = text.split(" ")
      const actor = yield* command === "connect" ? enter(name, address, as && certificateName) : actorOf(name)
      if (command === "connect" || text === "nc 127.0.0.1 5000") return
      if (text === "(end)") actor.end()
      else if (text === "(reset)") actor.reset()
      else actor.send(`${bindings.ofThisRun(text)}\n`)
    })

    const hears = Effect.fnUntraced(function* (name: string, text: string) {
      const actor = yield* actorOf(name)
      if (text === "(nothing)" || text === "(closed)") {
        const closed = text !== "(closed)" || (yield* actor.closed)
        const rest = heardOf(name, yield* actor.rest)
        return rest.length > 0 ? rest : [`${name}  ${closed ? text : "(open)"}`]
      }
      const heard = yield* actor.next
      if (heard === undefined) return [`${name}  (nothing)`]
      bindings.learn(text, heard)
      return heardOf(name, [heard])
    })

    for (const [at, { kind, line, names, text }] of steps.entries()) {
      // What others say was said after the server had done what was said before.
      if (speaker !== undefined && speaker !== names.join()) yield* actors.get(speaker)!.done
      speaker = undefined
      let seen = [line]
      if (kind === "time") {
        for (const actor of actors.values()) yield* actor.done
        yield* stage.passes(Duration.fromInputUnsafe(text as Duration.Input))
      } else if (kind === "hears") {
        seen = (yield* Effect.forEach(names, (name) => hears(name, text))).flat()
        if (names.length > 1 && seen.every((line, i) => line === `${names[i]}  ${text}`)) seen = [line]
      } else if (names.length > 1) {
        for (const name of names) yield* (yield* enter(name)).next
      } else {
        yield* says(names[0]!, text)
        if (actors.has(names[0]!) && !text.startsWith("(")) speaker = names[0]!
      }
      yield* check(at, seen)
      happened.push(...seen)
    }
    const beyond = yield* Effect.forEach(actors, ([name, actor]) =>
      Effect.map(actor.rest, (rest) => heardOf(name, rest))
    )
    yield* check(steps.length - 1, beyond.flat())
  })

const memoryActor = (socket: MemorySocket): Actor => {
  const heard: Array<string> = []
  const hear = Effect.map(settled, () => heard.push(...socket.lines()))
  return {
    send: (text) => socket.send(text),
    end: () => socket.close(),
    reset: () => socket.reset(),
    done: settled,
    next: Effect.map(hear, () => heard.shift()),
    rest: Effect.map(hear, () => heard.splice(0)),
    closed: Effect.map(settled, () => socket.ended || socket.destroyed)
  }
}

/** Plays a transcript with the test's server in memory; `present` are clients that are there already. */
export const transcript = (text: string, present: Readonly<Record<string, MemorySocket>> = {}) =>
  play(
    {
      connect: (address = "unknown", certificateName) =>
        Effect.flatMap(Network, ({ connectFrom }) => Effect.map(connectFrom(address, certificateName), memoryActor)),
      passes,
      // `TestClock` makes epochs known.
      varying: { resume: RESUME }
    },
    text,
    Object.fromEntries(Object.entries(present).map(([name, socket]) => [name, memoryActor(socket)]))
  )

const RESUME = /(?<="resume":")[\w-]+/g

let barriers = 0

const wireActor = (wire: WireClient): Actor => {
  const { heard, socket } = wire
  /** Puts all lines up to the one that is looked for, or to the end of the connection, where they were. */
  const hearUntil = (isLast: (line: string) => boolean) =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      for (let line = yield* wire.next; line !== undefined && !isLast(line); line = yield* wire.next) lines.push(line)
      heard.unshift(...lines)
    })
  /** The answer to a `PING` comes after all earlier answers; an unauthenticated client gets an `ERROR` instead. */
  const done = Effect.suspend(() => {
    const ping = `barrier-${++barriers}`
    if (socket.writable) wire.send(`PING ${ping}`)
    return hearUntil((line) => line.includes(ping) || line.startsWith("ERROR - not authorized"))
  })
  return {
    send: (text) => socket.write(text),
    end: () => socket.end(),
    reset: () => socket.resetAndDestroy(),
    done,
    next: wire.next,
    rest: Effect.map(done, () => heard.splice(0)),
    closed: Effect.map(
      hearUntil(() => false),
      () => wire.closed
    )
  }
}

/** Plays a transcript with a server on a real socket, in real time. */
export const wireTranscript = (text: string): Effect.Effect<void, never, Port | Scope.Scope> =>
  play(
    {
      connect: () => Effect.map(client, wireActor),
      passes: Effect.sleep,
      varying: {
        epoch: /(?<=^RANK \d+ \d+ |^END \d+ |"epoch":)\d+/g,
        port: /(?<=127\.0\.0\.1:)\d+/g,
        resume: RESUME
      }
    },
    text
  )
