/** Numbers, ids and names, as they stand in messages: their grammar, once. */
import { Schema } from "effect"

/** A whole number, zero or more, that a JavaScript number holds exactly. */
export const Whole = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

/** `m1`, `m2`, ...: given on admission, never reused. */
export const MemberId = Schema.String.check(
  Schema.isPattern(/^m[1-9][0-9]{0,15}$/, { expected: "a member id (m1, m2, ...)" })
)

/** What a member may call itself. Never like a member id, nor a lone `-`, which stands for no name. */
export const Name = Schema.String.check(
  Schema.isPattern(/^(?!m[0-9]+$)(?!-$)[A-Za-z0-9._-]{1,64}$/, {
    expected: "a name: 1-64 of A-Z a-z 0-9 . _ -, not like a member id, not a lone -"
  })
)

/** What an issuer calls its tracked command, or the server calls it towards an executor. */
export const CommandId = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._-]{1,64}$/, { expected: "an id: 1-64 of A-Z a-z 0-9 . _ -" })
)

export const GroupName = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9._-]{1,64}$/, { expected: "a group: 1-64 of A-Z a-z 0-9 . _ -" })
)

/** The group of a client that asks for none. */
export const DEFAULT_GROUP = "default"

/** What a client shows to be let in, or to be who it was. Nothing that would need escaping anywhere. */
export const Secret = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{1,512}$/, { expected: "1-512 printable characters without spaces" })
)
