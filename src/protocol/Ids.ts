/**
 * The grammar of numbers, ids, names and groups: the only place that knows it. Schemas judge values;
 * the functions and constants are for code that has no time for a Schema, and agree with it.
 */
import { Schema } from "effect"

/** A whole number in these bounds; `expected` says so in words, to the sender of anything else. */
export const whole = (minimum: number, maximum: number, expected = `a whole number from ${minimum} to ${maximum}`) =>
  Schema.Number.annotate({ message: `Expected ${expected}` }).check(
    Schema.isInt({ expected }),
    Schema.isBetween({ minimum, maximum }, { expected })
  )

/** A string that matches; `expected` says so in words, to the sender of anything else. */
export const matching = (pattern: RegExp, expected: string) =>
  Schema.String.annotate({ message: `Expected ${expected}` }).check(Schema.isPattern(pattern, { expected }))

/** A whole number that a JavaScript number holds exactly. */
export const Whole = whole(0, Number.MAX_SAFE_INTEGER)

/** What ids and names consist of. */
export const ID_CHARACTER = /[A-Za-z0-9._-]/

/** Characters that an id or a name has at most. */
export const MAX_ID_LENGTH = 64

const id = `${ID_CHARACTER.source}{1,${MAX_ID_LENGTH}}`
const inWords = `1-${MAX_ID_LENGTH} of A-Z a-z 0-9 . _ -`

/** The issuer's id of a tracked command; towards the executor, the server's. */
export const CommandId = matching(new RegExp(`^${id}$`), `an id: ${inWords}`)

export const GroupName = matching(new RegExp(`^${id}$`), `a group: ${inWords}`)

/** The group of a client that asks for no other. */
export const DEFAULT_GROUP = "default"

/** A member's name. Never like a member id, so that `@x` means one thing; never a lone `-`, which stands for no name. */
export const Name = matching(
  new RegExp(`^(?!m[0-9]+$)(?!-$)${id}$`),
  `a name: ${inWords}, not like a member id, not a lone -`
)

const memberId = /^m[1-9][0-9]{0,15}$/

/** `m1`, `m2`, ...: given on admission, never reused. */
export const MemberId = matching(memberId, "a member id (m1, m2, ...)")

/** The member id with this number. */
export const memberIdOf = (id: number): string => `m${id}`

/** The number of a member id; undefined where the text is none, or one that no member can have. */
export const memberNumberOf = (text: string): number | undefined => {
  const number = memberId.test(text) ? Number(text.slice(1)) : Number.NaN
  return Number.isSafeInteger(number) ? number : undefined
}

/** A token or a resume secret. It holds nothing that would need an escape anywhere. */
export const Secret = matching(/^[\x21-\x7e]{1,512}$/, "1-512 printable characters without spaces")
