import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import {
  CommandId,
  ID_CHARACTER,
  MAX_ID_LENGTH,
  MemberId,
  memberIdOf,
  memberNumberOf,
  Name
} from "../../src/protocol/Ids.ts"
import { isForSeveral, Target } from "../../src/protocol/Target.ts"

const isMemberId = Schema.is(MemberId)
const isName = Schema.is(Name)
const isCommandId = Schema.is(CommandId)

describe("ids", () => {
  it.prop(
    "reads back the number of every member id",
    [Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 1e15 }))],
    ([id]) => {
      assert.isTrue(isMemberId(memberIdOf(id)))
      assert.isFalse(isName(memberIdOf(id)))
      assert.strictEqual(memberNumberOf(memberIdOf(id)), id)
    }
  )

  it.each(["", "m", "m0", "m01", "m1x", "M1", "1", "m-1", "m1.0", "m9007199254740993", `m${"9".repeat(20)}`, "bob"])(
    "finds no member number in %j",
    (text) => assert.strictEqual(memberNumberOf(text), undefined)
  )

  it("knows the characters and the length of ids", () => {
    for (let code = 0; code < 256; code++) {
      const character = String.fromCharCode(code)
      assert.strictEqual(isCommandId(character), ID_CHARACTER.test(character), character)
    }
    assert.isTrue(isCommandId("i".repeat(MAX_ID_LENGTH)))
    assert.isFalse(isCommandId("i".repeat(MAX_ID_LENGTH + 1)))
  })
})

describe("targets", () => {
  it.prop("are for several if and only if they are a range or everyone", [Target], ([to]) =>
    assert.strictEqual(isForSeveral(to), "first" in to || to._tag === "Everyone")
  )
})
