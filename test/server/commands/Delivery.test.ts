import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Command } from "../../../src/server/commands/Commands.ts"
import { Task, Tasks } from "../../../src/server/commands/Delivery.ts"
import type { Client } from "../../../src/server/Peer.ts"

const Step = Schema.Struct({
  /** How many are added; for none, as many are deleted. */
  add: Schema.Literals([0, 0, 1, 7, 2000]),
  which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999 }))
})

/** Those of a target, by its list, forwards; backwards it has to be the same. */
const listOf = ({ lastTask }: Client): Array<number> => {
  const backwards: Array<number> = []
  let first = lastTask
  for (let task = lastTask; task !== undefined; task = task.earlier) {
    backwards.push(task.id)
    first = task
  }
  const forwards: Array<number> = []
  for (let task = first; task !== undefined; task = task.later) forwards.push(task.id)
  assert.deepStrictEqual(forwards, backwards.reverse())
  return forwards
}

describe("Tasks", () => {
  it.prop(
    "finds them by their ids and by their targets, as a Map would, while thousands come and go",
    [Schema.Array(Step).check(Schema.isMaxLength(40))],
    ([steps]) => {
      const tasks = new Tasks()
      const model = new Map<number, Task>()
      const targets = [{ lastTask: undefined }, { lastTask: undefined }] as unknown as [Client, Client]
      let last = 2 ** 32 - 3000
      for (const { add, which } of steps) {
        for (let i = 0; i < add; i++) {
          const task = new Task(++last, {} as Command, 0, targets[last % 2]!)
          tasks.add(task)
          model.set(task.id, task)
        }
        const present = [...model.values()]
        for (let i = 0; add === 0 && i < which && i < present.length; i++) {
          const task = present[(i * 7919 + which) % present.length]!
          if (model.delete(task.id)) tasks.delete(task)
        }
        assert.strictEqual(tasks.size, model.size)
        for (const id of [last - which, last, last + 1]) assert.strictEqual(tasks.get(id), model.get(id))
        assert.deepStrictEqual(
          tasks
            .list()
            .map(({ id }) => id)
            .sort((a, b) => a - b),
          [...model.keys()].sort((a, b) => a - b)
        )
        for (const parity of [0, 1] as const) {
          assert.deepStrictEqual(
            listOf(targets[parity]),
            [...model.keys()].filter((id) => id % 2 === parity)
          )
        }
      }
    },
    { arbitrary: { runs: 100 } }
  )
})
