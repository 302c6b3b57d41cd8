import { assert, describe, it } from "@effect/vitest"
import { HashMap, Schema } from "effect"
import * as CountedTrie from "../../src/rank/CountedTrie.ts"
import * as Roster from "../../src/rank/Roster.ts"

/** The model of a roster: an array of the members in order. */
type Model = Array<{ readonly id: number; name: string | undefined; data: string }>

/** Compares with `===` and asserts only differences, because it compares millions of members. */
const assertSame = (roster: Roster.Roster<string>, model: Model, ranks: Iterable<number> = model.keys()) => {
  assert.strictEqual(Roster.size(roster), model.length)
  assert.strictEqual(HashMap.size(roster.names), model.filter(({ name }) => name !== undefined).length)
  for (const rank of ranks) {
    const expected = model[rank]!
    const { data, id, name } = expected
    const member = Roster.at(roster, rank)
    if (member?.id !== id || member.name !== name || member.data !== data || Object.keys(member).length !== 3) {
      assert.deepStrictEqual(member, { id, name, data })
    }
    if (Roster.rankOf(roster, id) !== rank) assert.strictEqual(Roster.rankOf(roster, id), rank)
    if (Roster.byId(roster, id)?.id !== id) assert.strictEqual(Roster.byId(roster, id)?.id, id)
    if (name !== undefined && Roster.byName(roster, name)?.id !== id) assert.fail(`${name} is not ${id}`)
  }
  for (const outside of [-1, model.length, model.length + 31, 2 ** 40, Number.NaN]) {
    assert.isUndefined(Roster.at(roster, outside))
  }
}

const Operation = Schema.Struct({
  kind: Schema.Literals(["join", "join", "join", "leave", "stepDown", "rename", "replace"]),
  /** Which member: this many thousandths of the size. */
  whom: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 999 })),
  name: Schema.Literals(["a", "b", "c", "d"]),
  now: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
})

const apply = (
  roster: Roster.Roster<string>,
  model: Model,
  { kind, name, now, whom }: typeof Operation.Type,
  newId: number
): Roster.Roster<string> => {
  const rank = Math.floor((whom / 1000) * model.length)
  const member = model[rank]
  if (kind === "join" || member === undefined) {
    model.push({ id: newId, name: undefined, data: `data of ${newId}` })
    return Roster.join(roster, newId, `data of ${newId}`, now)
  }
  switch (kind) {
    case "leave":
      model.splice(rank, 1)
      return Roster.leave(roster, member.id, now)
    case "stepDown":
      model.push(...model.splice(rank, 1))
      return Roster.stepDown(roster, member.id, now)
    case "replace":
      member.data = `${newId} in its place`
      return Roster.replace(roster, member.id, member.data, now)
    case "rename":
      if (model.some((other) => other.name === name && other.id !== member.id)) return roster
      member.name = name
      return Roster.rename(roster, member.id, name)
  }
}

describe("Roster", () => {
  it.prop(
    "matches an array of the members after any operations, and older versions stay the same",
    [Schema.Array(Operation).check(Schema.isMaxLength(400))],
    ([operations]) => {
      let roster: Roster.Roster<string> = Roster.empty
      const model: Model = []
      const history: Array<readonly [Roster.Roster<string>, Model]> = []
      let id = 0
      for (const operation of operations) {
        const before = roster
        roster = apply(roster, model, operation, ++id)
        assertSame(roster, model)
        if (roster !== before && operation.kind !== "rename") {
          assert.isAbove(roster.epoch, before.epoch)
          assert.isAtLeast(roster.epoch, operation.now)
        }
        if (history.length < 20) history.push([roster, model.map((member) => ({ ...member }))])
      }
      for (const [old, its] of history) assertSame(old, its)
    },
    { arbitrary: { runs: 100, size: 200 } }
  )

  it.prop(
    "matches an array of 10,000 members over thousands of joins and departures",
    [Schema.Int, Schema.Array(Operation).check(Schema.isMaxLength(60))],
    ([, operations]) => {
      let roster: Roster.Roster<string> = Roster.empty
      const model: Model = []
      for (let id = 1; id <= 10_000; id++) {
        roster = apply(roster, model, { kind: "join", whom: 0, name: "a", now: 0 }, id)
      }
      let id = 10_000
      for (const operation of operations) {
        // Each operation many times: the trie loses whole subtrees, and grows new ones.
        for (let i = 0; i < 100; i++) {
          const whom = (operation.whom + i * 617) % 1000
          roster = apply(roster, model, { ...operation, whom }, ++id)
        }
        const ranks = [0, 1, 31, 32, 33, 1023, 1024, operation.whom, model.length - 1]
        assertSame(
          roster,
          model,
          ranks.filter((rank) => rank < model.length)
        )
      }
      assertSame(roster, model)
    },
    { arbitrary: { runs: 8 } }
  )

  it("frees a name when its member leaves or takes another", () => {
    const roster = Roster.rename(Roster.join(Roster.empty, 1, "x", 0), 1, "bob")
    const renamed = Roster.rename(roster, 1, "eve")
    assert.isUndefined(Roster.byName(renamed, "bob"))
    assert.strictEqual(Roster.byName(renamed, "eve")?.id, 1)
    assert.isUndefined(Roster.byName(Roster.leave(renamed, 1, 0), "eve"))
    assert.strictEqual(Roster.byName(Roster.stepDown(renamed, 1, 0), "eve")?.id, 1)
  })

  it("stays the same if the id is not a member", () => {
    const roster = Roster.join(Roster.empty, 1, "x", 5)
    assert.strictEqual(Roster.leave(roster, 2, 9), roster)
    assert.strictEqual(Roster.stepDown(roster, 2, 9), roster)
    assert.strictEqual(Roster.rename(roster, 2, "bob"), roster)
    assert.strictEqual(Roster.replace(roster, 2, "y", 9), roster)
    assert.isUndefined(Roster.rankOf(roster, 2))
  })
})

/** The nodes of a trie of numbers. */
const nodes = (node: unknown, into = new Set<object>()): Set<object> => {
  if (typeof node === "object" && node !== null && !into.has(node)) {
    into.add(node)
    for (const slot of (node as { slots: ReadonlyArray<unknown> }).slots) nodes(slot, into)
  }
  return into
}

describe("CountedTrie", () => {
  it("stores keys far apart, past 2^31 and up to 2^53", () => {
    const keys = [0, 31, 32, 1023, 1024, 2 ** 31 - 1, 2 ** 31, 2 ** 32 + 5, 2 ** 53 - 1]
    let trie: CountedTrie.CountedTrie<string> = CountedTrie.empty
    for (const key of keys.toReversed()) trie = CountedTrie.set(trie, key, `${key}`)
    for (const [position, key] of keys.entries()) {
      assert.strictEqual(CountedTrie.get(trie, key), `${key}`)
      assert.strictEqual(CountedTrie.at(trie, position), `${key}`)
      assert.strictEqual(CountedTrie.countBelow(trie, key), position)
      assert.isUndefined(CountedTrie.get(trie, key + (key < 2 ** 53 - 1 ? 2 : -2)))
    }
    for (const key of keys) trie = CountedTrie.remove(trie, key)
    assert.strictEqual(CountedTrie.size(trie), 0)
  })

  it("copies only one path: after a change, 100,000 keys share all but a few nodes", () => {
    let trie: CountedTrie.CountedTrie<number> = CountedTrie.empty
    for (let key = 0; key < 100_000; key++) trie = CountedTrie.set(trie, key, key)
    const before = nodes(trie.root)
    const changed = CountedTrie.remove(CountedTrie.set(trie, 100_000, 0), 50_000)
    const added = [...nodes(changed.root)].filter((node) => !before.has(node))
    assert.isAtMost(added.length, 2 * (changed.height + 1))
  })
  it("keeps no memory for removed keys", () => {
    let trie: CountedTrie.CountedTrie<number> = CountedTrie.empty
    for (let key = 0; key < 100_000; key++) trie = CountedTrie.set(trie, key, key)
    for (let key = 0; key < 99_999; key++) trie = CountedTrie.remove(trie, key)
    assert.strictEqual(nodes(trie.root).size, trie.height + 1)
  })
})
