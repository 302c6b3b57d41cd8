/** What follows from a change of a group's order, and in which sequence. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { Issuer } from "../../../src/server/commands/Command.ts"
import { TrackedCommands } from "../../../src/server/commands/TrackedCommands.ts"
import { type FakeGroup, fakeGroup, members } from "../../support/fakeGroup.ts"

/** The leaders that the group tells of from now on. */
const leadersOf = Effect.fnUntraced(function* ({ events }: FakeGroup) {
  const leaders: Array<string> = []
  yield* events.observe({
    leaderChanged: (member, name = "-", group, epoch) => leaders.push(`${member} ${name} ${group} ${epoch}`)
  })
  return () => leaders.splice(0)
})

describe("a departure", () => {
  it.effect("ends the member's deliveries, then watchers hear of it, then it is an event", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const { events, flushQueue } = group
      const [a, b] = yield* members(group, 2)
      const settings = { commandTimeout: Duration.seconds(60), maxLine: 1000, maxOpenTargets: 10 }
      const commands = new TrackedCommands({ flushQueue, events, now: () => 0, settings })
      const command = commands.open(new Issuer(a), "x", false, 1000, 1)
      commands.add(command, 1, b)
      group.group.notifier.watch(a)
      const happened: Array<unknown> = []
      /** The event, and what `a` has heard when it comes. */
      const note = (event: string) => happened.push([event, a.lines()])
      yield* events.observe({
        deliveryEnded: (issuer, id, target, status) => note(`${issuer}'s ${id} is ${status} at ${target}`),
        left: (member, name, group, address, reason) => note(`${member} ${name} left ${group}: ${reason}, ${address}`)
      })
      yield* group.leave(b, "reset")
      assert.deepStrictEqual(happened, [
        ["m1's x is undelivered at m2", []],
        ["m2 undefined left jobs: reset, unknown", ["RESULT#x 1 undelivered", "LEFT 1 m2 reset"]]
      ])
    }).pipe(Effect.scoped)
  )

  it.effect("is an event before the promotion that follows from it, and the successor hears of its rank last", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const [a, b] = yield* members(group, 2)
      const happened: Array<unknown> = []
      yield* group.events.observe({
        left: (member) => happened.push(member, b.lines()),
        leaderChanged: (member) => happened.push(member, b.lines())
      })
      yield* group.leave(a)
      assert.deepStrictEqual(happened, ["m1", [], "m2", []])
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(Effect.scoped)
  )
})

describe("the leader of a group", () => {
  it.effect("is an event once for each change of rank 0, with its name and its epoch", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const leaders = yield* leadersOf(group)
      const a = yield* group.join("ann")
      assert.deepStrictEqual(leaders(), ["m1 ann jobs 1"])
      const b = yield* group.join()
      const c = yield* group.join()
      yield* group.rename(a, "eve")
      yield* group.leave(c)
      assert.deepStrictEqual(leaders(), [])
      yield* group.stepDown(a)
      assert.deepStrictEqual(leaders(), ["m2 - jobs 5"])
      yield* group.leave(b)
      assert.deepStrictEqual(leaders(), ["m1 eve jobs 6"])
      // Alone, it stays at rank 0.
      yield* group.stepDown(a)
      assert.deepStrictEqual(leaders(), [])
      yield* group.leave(a)
      assert.deepStrictEqual(leaders(), [])
      yield* group.join()
      assert.deepStrictEqual(leaders(), ["m4 - jobs 9"])
    }).pipe(Effect.scoped)
  )

  it.effect("is none of the members that are leaving", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const peers = yield* members(group, 4)
      const [a, b, c] = peers
      const leaders = yield* leadersOf(group)
      for (const peer of [a, b, c]) peer.leaving = true
      for (const peer of [a, b, c]) yield* group.leave(peer, "kicked")
      assert.deepStrictEqual(leaders(), ["m4 - jobs 7"])
    }).pipe(Effect.scoped)
  )

  it.effect("stays while the server stops", () =>
    Effect.gen(function* () {
      const group = yield* fakeGroup()
      const peers = yield* members(group, 3)
      const leaders = yield* leadersOf(group)
      group.server.stopping = true
      for (const peer of peers) yield* group.leave(peer, "shutting down")
      assert.deepStrictEqual(leaders(), [])
    }).pipe(Effect.scoped)
  )
})
