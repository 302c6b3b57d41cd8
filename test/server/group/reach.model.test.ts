import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import type { Target } from "../../../src/protocol/Target.ts"
import * as Roster from "../../../src/rank/Roster.ts"
import { find, judge, type Reach, reach } from "../../../src/server/group/reach.ts"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const NAMES = ["ann", "bob", "eve"]

/** What happened to the group: the member at a rank leaves, steps down or takes a name; or another one joins. */
const Change = Schema.Union([
  Schema.TaggedStruct("Joins", {}),
  Schema.TaggedStruct("Joins", {}),
  Schema.TaggedStruct("Leaves", { rank: upTo(7) }),
  Schema.TaggedStruct("StepsDown", { rank: upTo(7) }),
  Schema.TaggedStruct("TakesName", { rank: upTo(7), name: Schema.Literals(NAMES) })
])

const AnyTarget = Schema.Union([
  Schema.TaggedStruct("Rank", { rank: upTo(9) }),
  Schema.TaggedStruct("Range", { first: upTo(9), more: upTo(4) }),
  Schema.TaggedStruct("Everyone", {}),
  Schema.TaggedStruct("Member", { who: Schema.Literals([...NAMES, "zoe", "m1", "m2", "m3", "m4", "m9"]) })
])

interface Naive {
  readonly id: number
  name: string | undefined
}

/** The group as an array of members, and as a roster. */
const groupOf = (changes: ReadonlyArray<typeof Change.Type>) => {
  const naive: Array<Naive> = [{ id: 1, name: undefined }]
  let roster = Roster.join(Roster.empty as Roster.Roster<string>, 1, "", 0)
  let lastId = 1
  for (const change of changes) {
    if (change._tag === "Joins") {
      naive.push({ id: ++lastId, name: undefined })
      roster = Roster.join(roster, lastId, "", 0)
      continue
    }
    const member = naive[change.rank]
    if (member === undefined || naive.length === 1) continue
    if (change._tag === "TakesName") {
      if (naive.some(({ name }) => name === change.name)) continue
      member.name = change.name
      roster = Roster.rename(roster, member.id, change.name)
      continue
    }
    naive.splice(change.rank, 1)
    if (change._tag === "StepsDown") naive.push(member)
    roster = change._tag === "Leaves" ? Roster.leave(roster, member.id, 0) : Roster.stepDown(roster, member.id, 0)
  }
  return { naive, roster }
}

const targetOf = (target: typeof AnyTarget.Type): Target =>
  target._tag === "Range" ? { _tag: "Range", first: target.first, last: target.first + target.more } : target

const ranksFrom = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)

/** The rule word by word: the ranks that are meant must all be below the issuer, and must all be held by somebody. */
const naiveReach = (naive: ReadonlyArray<Naive>, issuer: number, to: Target): Reach => {
  const meant = {
    Rank: () => (to._tag === "Rank" ? [to.rank] : []),
    Range: () => (to._tag === "Range" ? ranksFrom(to.first, to.last) : []),
    Everyone: () => naive.map((_, rank) => rank).filter((rank) => rank > issuer),
    Member: () =>
      naive.flatMap(({ id, name }, rank) => (to._tag === "Member" && [name, `m${id}`].includes(to.who) ? [rank] : []))
  }[to._tag]()
  const [first] = meant
  const last = meant.at(-1)
  if (first === undefined || last === undefined) return to._tag === "Member" ? "no such member" : "nobody below"
  if (!meant.every((rank) => rank > issuer)) return "rank too high"
  if (!meant.every((rank) => rank in naive)) return "no such rank"
  return { first, last }
}

describe("a command", () => {
  it.prop(
    "travels only down, to just the ranks that are meant, or to nobody",
    [Schema.Array(Change).check(Schema.isMaxLength(20)), upTo(7), AnyTarget],
    ([changes, rank, written]) => {
      const { naive, roster } = groupOf(changes)
      const issuer = rank % naive.length
      const to = targetOf(written)
      const reached = reach(roster, issuer, to)
      const expected = naiveReach(naive, issuer, to)
      if (typeof reached === "string" || typeof expected === "string") return assert.strictEqual(reached, expected)
      assert.deepStrictEqual([reached.first, reached.last], [expected.first, expected.last])
      for (const rank of ranksFrom(reached.first, reached.last)) {
        assert.isAbove(rank, issuer)
        assert.isDefined(naive[rank])
      }
    },
    { arbitrary: { runs: 2000 } }
  )

  it("is judged by the issuer's rank first: what it may not command, it learns nothing about", () => {
    // Of 4 members the issuer is at rank 1.
    const judged = (first: number, last: number) => judge(1, 4, first, last)
    assert.deepStrictEqual(
      [judged(0, 0), judged(1, 1), judged(1, 9), judged(0, 3), judged(2, 4), judged(4, 4), judged(2, 3), judged(3, 3)],
      [...Array(4).fill("rank too high"), "no such rank", "no such rank", undefined, undefined]
    )
  })

  it("reaches no rank beyond what a number holds", () => {
    const { roster } = groupOf([{ _tag: "Joins" }, { _tag: "Joins" }])
    const most = Number.MAX_SAFE_INTEGER
    assert.strictEqual(reach(roster, 0, { _tag: "Rank", rank: most }), "no such rank")
    assert.strictEqual(reach(roster, 0, { _tag: "Range", first: 1, last: most }), "no such rank")
  })
})

describe("find", () => {
  const { roster } = groupOf([
    { _tag: "Joins" },
    { _tag: "Joins" },
    { _tag: "TakesName", rank: 1, name: "ann" },
    { _tag: "StepsDown", rank: 0 },
    { _tag: "Leaves", rank: 1 }
  ])

  it("finds a member by its name and by its id, wherever it stands now", () => {
    const found = (who: string) => {
      const { member, rank } = find(roster, who) ?? {}
      return [member?.id, rank]
    }
    assert.deepStrictEqual(
      [found("ann"), found("m2"), found("m1")],
      [
        [2, 0],
        [2, 0],
        [1, 1]
      ]
    )
  })

  it("finds nobody by an id that has left, never was, or is written otherwise", () => {
    for (const who of ["m3", "m4", "m0", "m02", "M2", "2", "Ann", "", "m9007199254740993"]) {
      assert.isUndefined(find(roster, who), who)
    }
  })
})
