/** The list of members over several connections. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { admittedTo } from "../support/memoryClient.ts"
import { memoryFake } from "../support/memoryFake.ts"
import { passUntil } from "../support/until.ts"

const serve = () => {
  const server = memoryFake((said, connection) => {
    const number = server.connections.length
    if (said._tag === "Hello") connection.welcome({ group: `${said.group}`, epoch: number })
    if (said._tag === "Watch") {
      const members = [{ rank: 0, member: "m1", name: `c${number}`, address: "here" }]
      connection.say({ _tag: "Roster", size: 1, epoch: 1, members })
    }
  })
  return server
}

describe("Watch", () => {
  it.effect("keeps its name and group on the next connection, and watches again", () =>
    Effect.gen(function* () {
      const server = serve()
      const client = yield* admittedTo(server, { group: "jobs", name: "one" })
      const lists: Array<string> = []
      yield* Effect.forkScoped(
        Stream.runForEach(client.roster, (members) =>
          Effect.sync(() => lists.push(members.map(({ name }) => name).join()))
        )
      )
      yield* passUntil(() => lists.includes("c1"))
      server.latest().cut()
      yield* passUntil(() => lists.includes("c2"))
      assert.deepStrictEqual(lists, ["c1", "", "c2"])
      assert.deepInclude(server.latest().said[0], { _tag: "Hello", group: "jobs", name: "one" })
    })
  )

  it.effect("asks the server once for all readers, and ignores changes while nobody reads", () =>
    Effect.gen(function* () {
      const server = serve()
      const client = yield* admittedTo(server, { group: "jobs" })
      const joined = { _tag: "Joined", rank: 1, member: "m2" } as const
      server.latest().say(joined)
      let lists = 0
      const read = Effect.forkChild(Stream.runForEach(client.roster, () => Effect.sync(() => lists++)))
      const readers = [yield* read, yield* read]
      yield* passUntil(() => lists === 2)
      server.latest().say(joined)
      yield* passUntil(() => lists === 4)
      yield* Fiber.interruptAll(readers)
      yield* passUntil(() => server.latest().count("Unwatch") === 1)
      assert.strictEqual(server.latest().count("Watch"), 1)
      server.latest().say(joined)
      const [first] = yield* Effect.flatMap(
        Effect.forkChild(Stream.runCollect(Stream.take(client.roster, 1))),
        (fiber) =>
          Effect.andThen(
            passUntil(() => server.latest().count("Watch") === 2),
            Fiber.join(fiber)
          )
      )
      assert.strictEqual(first?.length, 1)
    })
  )
})
