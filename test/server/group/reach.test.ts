import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Target } from "../../../src/protocol/Target.ts"
import * as Roster from "../../../src/rank/Roster.ts"
import { reach } from "../../../src/server/group/reach.ts"

const Size = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 12 }))

/** Members m1, m2, ...; every second one has a name. */
const rosterOf = (size: number) => {
  let roster: Roster.Roster<undefined> = Roster.empty
  for (let id = 1; id <= size; id++) {
    roster = Roster.join(roster, id, undefined, 0)
    if (id % 2 === 0) roster = Roster.rename(roster, id, `n${id}x`)
  }
  return roster
}

/** The ranks that a target means, one by one; or why it means none. */
const meant = (size: number, issuer: number, to: Target): ReadonlyArray<number> | "no such member" | "nobody below" => {
  const from = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)
  switch (to._tag) {
    case "Rank":
      return [to.rank]
    case "Range":
      return from(to.first, to.last)
    case "Everyone":
      return issuer + 1 < size ? from(issuer + 1, size - 1) : "nobody below"
    case "Member": {
      const id = Number(/^[mn](\d+)x?$/.exec(to.who)?.[1] ?? 0)
      const isThere = id >= 1 && id <= size && (to.who === `m${id}` || (to.who === `n${id}x` && id % 2 === 0))
      return isThere ? [id - 1] : "no such member"
    }
  }
}

const Wanted = Schema.Union([
  Schema.TaggedStruct("Rank", { rank: Size }),
  Schema.TaggedStruct("Range", { first: Size, last: Size }),
  Schema.TaggedStruct("Everyone", {}),
  Schema.TaggedStruct("Member", { who: Schema.Literals(["m1", "m2", "m5", "m12", "n2x", "n3x", "n6x", "N2x"]) })
])

describe("reach", () => {
  it.prop(
    "lets a command travel only down, and to no target if one of them is not below the issuer",
    [Size, Size, Wanted],
    ([size, issuer, wanted]) => {
      if (issuer >= size || (wanted._tag === "Range" && wanted.first > wanted.last)) return
      const to: Target = wanted
      const ranks = meant(size, issuer, to)
      const reached = reach(rosterOf(size), issuer, to)
      if (typeof ranks === "string") return assert.strictEqual(reached, ranks)
      const [first = 0] = ranks
      const last = ranks.at(-1) ?? 0
      if (first <= issuer) return assert.strictEqual(reached, "rank too high")
      if (last >= size) return assert.strictEqual(reached, "no such rank")
      assert.deepInclude(reached, { first, last })
    },
    { arbitrary: { runs: 1000 } }
  )
})
