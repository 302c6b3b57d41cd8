/**
 * Every message, as a schema. A message is the same in every encoding; how it becomes a line is the matter of
 * the encodings (`Codec`).
 */
import { Schema } from "effect"
import { CommandId, GroupName, MemberId, matching, Name, Secret, Whole, whole } from "./Ids.ts"
import { ByeReason, LeaveReason, Reason } from "./Reasons.ts"
import { WrittenMember, WrittenTarget } from "./Target.ts"

/** The version of the protocol. */
export const PROTOCOL_VERSION = 1

const isWellFormed = Schema.makeFilter((text: string) => text.isWellFormed(), {
  expected: "text without lone surrogates"
})

/** Text that fits on one line: no control character but TAB, no lone surrogate. */
export const Words = matching(
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it rejects control characters
  /^[^\u0000-\u0008\u000a-\u001f\u007f-\u009f]+$/,
  "text on one line"
).check(isWellFormed)

/** Any text, line breaks and control characters included: the encodings keep it on its line. */
export const Output = Schema.String.annotate({ message: "Expected text" }).check(isWellFormed)

const Truncated = Schema.Boolean.annotate({ message: "Expected true or false" })

const EXECUTOR_STATUS = "an exit code (0-255), or denied, failed, cancelled or busy"

const executorWords = ["denied", "failed", "cancelled", "busy"] as const

/** How a command ended, in the executor's words: an exit code, or why there is none. */
export const ExecutorStatus = Schema.Union([
  whole(0, 255, EXECUTOR_STATUS),
  Schema.Literals(executorWords).annotate({ message: `Expected ${EXECUTOR_STATUS}` })
])
export type ExecutorStatus = typeof ExecutorStatus.Type

/** How a command ended at one target: in the executor's words, or in the server's. */
export const Status = Schema.Union([
  whole(0, 255),
  Schema.Literals([...executorWords, "timeout", "undelivered", "lost"])
])
export type Status = typeof Status.Type

/** How often each side sends something, in milliseconds. */
export const Heartbeat = whole(100, 3_600_000)

/** What a client sends. */
export const ClientMessage = Schema.Union([
  /** Tracked where it has an id. `timeout` is in milliseconds; `epoch` and `member` are guards. */
  Schema.TaggedStruct("Exec", {
    id: Schema.optionalKey(CommandId),
    to: WrittenTarget,
    command: Words,
    timeout: Schema.optionalKey(whole(1, Number.MAX_SAFE_INTEGER)),
    epoch: Schema.optionalKey(Whole),
    member: Schema.optionalKey(MemberId)
  }),
  Schema.TaggedStruct("Output", { id: CommandId, text: Output.check(Schema.isNonEmpty()) }),
  Schema.TaggedStruct("Result", {
    id: CommandId,
    status: ExecutorStatus,
    output: Schema.optionalKey(Output),
    truncated: Schema.optionalKey(Truncated)
  }),
  Schema.TaggedStruct("Cancel", { id: CommandId }),
  Schema.TaggedStruct("Explain", { to: WrittenTarget }),
  Schema.TaggedStruct("Ranks", {}),
  Schema.TaggedStruct("Whois", { who: WrittenMember }),
  Schema.TaggedStruct("Watch", {}),
  Schema.TaggedStruct("Unwatch", {}),
  Schema.TaggedStruct("Name", { name: Name }),
  Schema.TaggedStruct("Join", { group: GroupName }),
  Schema.TaggedStruct("Yield", {}),
  Schema.TaggedStruct("Auth", { token: Secret }),
  /**
   * A program's first line. `resume` is from an earlier `Welcome`: the client is that member again. `epoch` is the
   * largest epoch of the group that the client knows. With `lease` the client acts on its rank while its lease runs;
   * it needs `heartbeat`.
   */
  Schema.TaggedStruct("Hello", {
    protocol: Whole,
    name: Schema.optionalKey(Name),
    group: Schema.optionalKey(GroupName),
    token: Schema.optionalKey(Secret),
    resume: Schema.optionalKey(Secret),
    heartbeat: Schema.optionalKey(Heartbeat),
    lease: Schema.optionalKey(Schema.Literal(true)),
    epoch: Schema.optionalKey(Whole)
  }),
  Schema.TaggedStruct("Ping", { text: Schema.optionalKey(Words) }),
  Schema.TaggedStruct("Pong", { text: Schema.optionalKey(Words) }),
  Schema.TaggedStruct("Help", {}),
  Schema.TaggedStruct("Quit", {})
]).pipe(Schema.toTaggedUnion("_tag"))
export type ClientMessage = typeof ClientMessage.Type

const listed = {
  rank: Whole,
  member: MemberId,
  name: Schema.optionalKey(Name),
  address: matching(/^[\x21-\x7e]+$/, "an address"),
  /** Whether it has a lease: at rank 0, it leads. */
  lease: Schema.optionalKey(Schema.Literal(true))
}

/** A member in a list. */
const Listed = Schema.Struct(listed)
export type Listed = typeof Listed.Type

/** What the server sends. */
export const ServerMessage = Schema.Union([
  /** `leadIn`: for so many milliseconds, a client with a lease must not act on rank 0 yet. */
  Schema.TaggedStruct("Rank", {
    rank: Whole,
    size: Whole,
    epoch: Whole,
    member: MemberId,
    leadIn: Schema.optionalKey(Whole)
  }),
  /** Tracked where it has an id, which is the server's. `epoch` is that of the order that the server routed it in. */
  Schema.TaggedStruct("Exec", {
    id: Schema.optionalKey(CommandId),
    from: Whole,
    command: Words,
    epoch: Schema.optionalKey(Whole)
  }),
  /** `id` is the issuer's; `rank` is that of the executor when the server routed the command. */
  Schema.TaggedStruct("Output", { id: CommandId, rank: Whole, text: Output.check(Schema.isNonEmpty()) }),
  Schema.TaggedStruct("Result", {
    id: CommandId,
    rank: Whole,
    status: Status,
    output: Schema.optionalKey(Output),
    truncated: Schema.optionalKey(Truncated)
  }),
  /** A command to several targets has ended at all of them, with exit code 0 at `ok`. */
  Schema.TaggedStruct("Done", { id: CommandId, ok: Whole, notOk: Whole }),
  Schema.TaggedStruct("Cancel", { id: CommandId }),
  /** Answers `Explain`: a command would reach `count` members; `targets` lists the first `MAX_LISTED_TARGETS`. */
  Schema.TaggedStruct("Targets", {
    count: Whole,
    targets: Schema.Array(Schema.Struct({ rank: Whole, member: MemberId }))
  }),
  /** One of a list in text, up to `End`; the answer to `Whois`. */
  Schema.TaggedStruct("Member", listed),
  Schema.TaggedStruct("End", { size: Whole, epoch: Whole }),
  /** The list of members in JSON, where it is one message. */
  Schema.TaggedStruct("Roster", { size: Whole, epoch: Whole, members: Schema.Array(Listed) }),
  /**
   * Answers `Hello`. `maxLine` is the limit for the client's lines, in bytes; `resume` is the secret with which
   * the client can come back, where the server reserves seats; `heartbeat` is the one that applies, 0 for none.
   * `leadIn` is that of `Rank`.
   * `commandTimeout` is how long a tracked command may take by default, `maxCommandTimeout` how long it may ask for at
   * most, both in milliseconds. Older servers do not say them.
   */
  Schema.TaggedStruct("Welcome", {
    protocol: Whole,
    server: Words,
    member: MemberId,
    group: GroupName,
    rank: Whole,
    size: Whole,
    epoch: Whole,
    resume: Schema.optionalKey(Secret),
    leadIn: Schema.optionalKey(Whole),
    maxLine: Whole,
    heartbeat: Whole,
    commandTimeout: Schema.optionalKey(Whole),
    maxCommandTimeout: Schema.optionalKey(Whole)
  }),
  Schema.TaggedStruct("Joined", { rank: Whole, member: MemberId }),
  Schema.TaggedStruct("Left", { rank: Whole, member: MemberId, reason: LeaveReason }),
  Schema.TaggedStruct("Moved", { from: Whole, to: Whole, member: MemberId }),
  Schema.TaggedStruct("Named", { rank: Whole, member: MemberId, name: Name }),
  Schema.TaggedStruct("Ping", {}),
  Schema.TaggedStruct("Pong", { text: Schema.optionalKey(Words) }),
  Schema.TaggedStruct("Help", { text: Words }),
  Schema.TaggedStruct("Bye", { reason: ByeReason }),
  /** Rejects a line. `rank` is the receiver's; none before admission. */
  Schema.TaggedStruct("Error", {
    /** The issuer's id of a tracked command that is rejected as a whole. */
    id: Schema.optionalKey(CommandId),
    rank: Schema.optionalKey(Whole),
    reason: Reason,
    detail: Schema.optionalKey(Words)
  })
]).pipe(Schema.toTaggedUnion("_tag"))
export type ServerMessage = typeof ServerMessage.Type

/** Targets that one `Targets` lists: its line stays below 64 KiB, whatever the ranks and ids. */
export const MAX_LISTED_TARGETS = 1000
