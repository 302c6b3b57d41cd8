import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Command, Delivery, Issuer } from "../../../src/server/commands/Command.ts"
import { DeliveryTable } from "../../../src/server/commands/DeliveryTable.ts"
import type { PendingDelivery } from "../../../src/server/Peer.ts"
import { fakePeer } from "../../support/fakePeer.ts"

const Step = Schema.Struct({
  /** How many are added. 0: up to `which` are deleted instead. */
  add: Schema.Literals([0, 0, 1, 7, 2000]),
  which: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999 }))
})

/** The deliveries of a target, from its list. The list must be the same in both directions. */
const listOf = (last: PendingDelivery | undefined): Array<PendingDelivery> => {
  const backwards: Array<PendingDelivery> = []
  let first = last
  for (let delivery = last; delivery !== undefined; delivery = delivery.earlier) {
    backwards.push(delivery)
    first = delivery
  }
  const forwards: Array<PendingDelivery> = []
  for (let delivery = first; delivery !== undefined; delivery = delivery.later) forwards.push(delivery)
  assert.deepStrictEqual(forwards, backwards.reverse())
  return forwards
}

describe("DeliveryTable", () => {
  it.prop(
    "finds deliveries by id and by target, as a Map would, while thousands open and end",
    [Schema.Array(Step).check(Schema.isMaxLength(40))],
    ([steps]) => {
      const table = new DeliveryTable()
      const model = new Map<number, Delivery>()
      const even = fakePeer()
      const odd = fakePeer()
      const command = new Command(new Issuer(fakePeer()), "x", false, 0)
      let last = 2 ** 32 - 3000
      for (const { add, which } of steps) {
        for (let i = 0; i < add; i++) {
          const delivery = new Delivery(++last, command, 0, last % 2 === 0 ? even : odd, { finish: () => {} })
          table.add(delivery)
          model.set(delivery.id, delivery)
        }
        const present = [...model.values()]
        for (let i = 0; add === 0 && i < which && i < present.length; i++) {
          const delivery = present[(i * 7919 + which) % present.length]!
          if (model.delete(delivery.id)) table.delete(delivery)
        }
        assert.strictEqual(table.size, model.size)
        for (const id of [last - which, last, last + 1]) assert.strictEqual(table.get(id), model.get(id))
        const listed = new Set(table.list())
        assert.strictEqual(listed.size, model.size)
        for (const delivery of model.values()) assert.isTrue(listed.has(delivery))
        for (const [parity, peer] of [even, odd].entries()) {
          assert.deepStrictEqual(
            listOf(peer.lastDelivery),
            [...model.values()].filter(({ id }) => id % 2 === parity)
          )
        }
      }
    },
    { arbitrary: { runs: 100 } }
  )
})
