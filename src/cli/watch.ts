/** `rankd watch`: shows the members of a group, and every change, until a signal stops it. */
import { Effect, Latch, SubscriptionRef } from "effect"
import { Command } from "effect/cli"
import { Stdio } from "effect/Stdio"
import { type Listed, listed } from "../client/memberList.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"
import * as Client from "./connection/client.ts"
import { type Connecting, flags } from "./connection/flags.ts"
import { notices } from "./connection/notices.ts"
import { ranked } from "./connection/ranked.ts"
import { blocked, memberTable } from "./members.ts"
import { print, stdout } from "./output/output.ts"
import { say } from "./say.ts"
import { asService, reloadOnHangup } from "./signals.ts"
import { hasEscapes } from "./terminal/hasEscapes.ts"
import { InPlace } from "./terminal/InPlace.ts"
import { json, type Line, printable } from "./terminal/text.ts"

/** The table is drawn no more often than an eye can follow, however fast the members change. */
const REDRAW_INTERVAL = "50 millis"

/** At most this often the whole list is requested again, for the addresses of new members. */
const ASK_INTERVAL_MS = 1000

const CHANGES: ReadonlySet<string> = new Set(["Roster", "Joined", "Left", "Moved", "Named"])

const run = Effect.fnUntraced(function* (options: Connecting) {
  yield* asService
  yield* reloadOnHangup(say(options.json, "Notice", "nothing to reload"))
  const link = yield* Client.link(options)
  const { stdoutIsTerminal } = yield* Stdio
  const drawn = (yield* stdoutIsTerminal) && hasEscapes && !options.json
  const changed = yield* Latch.make(false)
  let members: ReadonlyArray<Listed> = []
  let self: string | undefined
  /** Changes that arrive before the list are in the list, such as the own name. */
  let following = false
  const heard = (message: ServerMessage) => {
    if (message._tag === "Welcome") {
      self = message.member
      following = false
      return link.say({ _tag: "Watch" })
    }
    following ||= message._tag === "Roster"
    if (!following || !CHANGES.has(message._tag)) return Effect.void
    members = listed(members, message)
    if (!drawn) {
      const printed = print(options.json ? json(message) : textCodec.encodeServer(message))
      const why = message._tag === "Roster" ? blocked(members) : undefined
      return why === undefined ? printed : Effect.andThen(printed, say(options.json, "Notice", why))
    }
    return changed.open
  }
  const broken = Effect.suspend(() => {
    self = undefined
    return changed.open
  })
  yield* Effect.forkScoped(link.run({ heard, broken }))
  yield* ranked(options, link)
  if (!drawn) {
    yield* notices(options, link)
    return yield* Effect.never
  }
  const screen = new InPlace()
  process.stdout.on("resize", () => changed.openUnsafe())
  let asked = Number.NEGATIVE_INFINITY
  return yield* Effect.gen(function* () {
    yield* changed.await
    yield* stdout.drained
    changed.closeUnsafe()
    const why = SubscriptionRef.getUnsafe(link.refused)?.message ?? "connection lost"
    const unled = blocked(members)
    const head: Array<Line> = unled === undefined ? [] : [{ text: unled, style: "yellow" }]
    if (self === undefined) head.unshift({ text: printable(`${why}; trying again`), style: "red" })
    screen.show([...head, ...memberTable(members, self)], (count) => `... and ${count} more`)
    yield* Effect.sleep(REDRAW_INTERVAL)
    // `JOINED` has no address, and no message tells that a member gets a lease.
    if (unled === undefined && members.every(({ address }) => address !== undefined)) return
    if (performance.now() - asked < ASK_INTERVAL_MS) {
      yield* changed.open
      return
    }
    asked = performance.now()
    link.tell({ _tag: "Ranks" })
  }).pipe(Effect.forever)
}, Effect.scoped)

export const command = Command.make("watch", flags, run).pipe(
  Command.withDescription(
    "Show the members of a group, every change, and when nobody can lead. While it runs, this command is one of them"
  ),
  Command.withExamples([{ command: "rankd watch --json | jq .", description: "Print every change for a program" }])
)
