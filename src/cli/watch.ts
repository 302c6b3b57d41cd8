/** `rankd watch`: the members of a group as they change, until it is stopped. */
import { Console, Effect, Latch, SubscriptionRef } from "effect"
import { Command } from "effect/cli"
import { Stdio } from "effect/Stdio"
import { type Listed, listed } from "../client/memberList.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import { textCodec } from "../protocol/text/TextCodec.ts"
import * as Connection from "./connection.ts"
import { memberTable } from "./members.ts"
import { InPlace, json, type Line } from "./terminal.ts"

/** However fast the members change, the table is drawn no more often than an eye can follow. */
const REDRAW_INTERVAL = "50 millis"

/** The list is asked for anew so often at most, for the addresses of who has joined. */
const ASK_INTERVAL_MS = 1000

const CHANGES: ReadonlySet<string> = new Set(["Roster", "Joined", "Left", "Moved", "Named"])

const run = Effect.fnUntraced(function* (options: Connection.Connecting) {
  const link = yield* Connection.link(options)
  const { stdoutIsTerminal } = yield* Stdio
  const drawn = (yield* stdoutIsTerminal) && !options.json
  const changed = yield* Latch.make(false)
  let members: ReadonlyArray<Listed> = []
  let self: string | undefined
  /** What it is told before the list, as its own name, is in the list. */
  let following = false
  const heard = (message: ServerMessage) => {
    if (message._tag === "Welcome") {
      self = message.member
      following = false
      return link.say({ _tag: "Watch" })
    }
    following ||= message._tag === "Roster"
    if (!following || !CHANGES.has(message._tag)) return Effect.void
    if (!drawn) return Console.log(options.json ? json(message) : textCodec.encodeServer(message))
    members = listed(members, message)
    return changed.open
  }
  const broken = Effect.suspend(() => {
    self = undefined
    return changed.open
  })
  yield* Effect.forkScoped(link.run({ heard, broken }))
  yield* Connection.ranked(options, link)
  if (!drawn) {
    yield* Connection.notices(options, link)
    return yield* Effect.never
  }
  const screen = new InPlace()
  process.stdout.on("resize", () => {
    screen.clear()
    changed.openUnsafe()
  })
  let asked = 0
  return yield* Effect.gen(function* () {
    yield* changed.await
    changed.closeUnsafe()
    const why = SubscriptionRef.getUnsafe(link.refused)?.message ?? "connection lost"
    const head: ReadonlyArray<Line> = self === undefined ? [{ text: `${why}; trying again`, style: "red" }] : []
    screen.show([...head, ...memberTable(members, self)], (count) => `... and ${count} more`)
    yield* Effect.sleep(REDRAW_INTERVAL)
    // Of who joins, watchers are told no address.
    if (members.every(({ address }) => address !== undefined)) return
    if (Date.now() - asked < ASK_INTERVAL_MS) {
      yield* changed.open
      return
    }
    asked = Date.now()
    link.tell({ _tag: "Ranks" })
  }).pipe(Effect.forever)
}, Effect.scoped)

export const command = Command.make("watch", Connection.flags, run).pipe(
  Command.withDescription("Show the members of a group as they change; this command is one of them meanwhile"),
  Command.withExamples([{ command: "rankd watch --json | jq .", description: "Every change, for a program" }])
)
