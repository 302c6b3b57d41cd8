/**
 * Everything that is said on the wire, as schemas. A message is the same in every
 * encoding; how it becomes a line is the encoding's matter (`Codec`).
 */
import { Schema } from "effect"
import { CommandId, GroupName, MemberId, Name, Secret, Whole } from "./Ids.ts"
import { ByeReason, LeaveReason, Reason } from "./Reasons.ts"
import { TargetFromString } from "./Target.ts"

/** The version of the protocol that clients and servers speak. */
export const PROTOCOL_VERSION = 1

/** Text that fits on one line: no control character but TAB, no lone surrogate. */
export const Words = Schema.String.check(
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it keeps out
  Schema.isPattern(/^[^\u0000-\u0008\u000a-\u001f\u007f]+$/, { expected: "text on one line" }),
  Schema.makeFilter((text: string) => text.isWellFormed() || "text without lone surrogates")
)

/** Any text, line breaks and control characters included: the encodings see to it that it stays on its line. */
export const Output = Schema.String.check(
  Schema.makeFilter((text: string) => text.isWellFormed() || "text without lone surrogates")
)

const ExitCode = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))

/** How an executor says that a command ended: an exit code, or why there is none. */
export const ExecutorStatus = Schema.Union([ExitCode, Schema.Literals(["denied", "failed", "cancelled", "busy"])])
export type ExecutorStatus = typeof ExecutorStatus.Type

/** How a command ended at one target: as the executor says, or as the server had to. */
export const Status = Schema.Union([
  ExitCode,
  Schema.Literals(["denied", "failed", "cancelled", "busy", "timeout", "undelivered", "lost"])
])
export type Status = typeof Status.Type

/** How often each side lets the other hear something, in milliseconds. */
export const Heartbeat = Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 3_600_000 }))

/** What a client may say. */
export const ClientMessage = Schema.Union([
  /** Tracked where it has an id. `timeout` is in milliseconds; `epoch` and `member` are guards. */
  Schema.TaggedStruct("Exec", {
    id: Schema.optionalKey(CommandId),
    to: TargetFromString,
    command: Words,
    timeout: Schema.optionalKey(Whole.check(Schema.isGreaterThan(0))),
    epoch: Schema.optionalKey(Whole),
    member: Schema.optionalKey(MemberId)
  }),
  Schema.TaggedStruct("Output", { id: CommandId, text: Output.check(Schema.isNonEmpty()) }),
  Schema.TaggedStruct("Result", {
    id: CommandId,
    status: ExecutorStatus,
    output: Schema.optionalKey(Output),
    truncated: Schema.optionalKey(Schema.Boolean)
  }),
  Schema.TaggedStruct("Cancel", { id: CommandId }),
  Schema.TaggedStruct("Explain", { to: TargetFromString }),
  Schema.TaggedStruct("Ranks", {}),
  Schema.TaggedStruct("Watch", {}),
  Schema.TaggedStruct("Unwatch", {}),
  Schema.TaggedStruct("Name", { name: Name }),
  Schema.TaggedStruct("Join", { group: GroupName }),
  Schema.TaggedStruct("Yield", {}),
  Schema.TaggedStruct("Auth", { token: Secret }),
  /** A program's first line. `resume` is of a `Welcome`: the member that was lost comes back. */
  Schema.TaggedStruct("Hello", {
    protocol: Whole,
    name: Schema.optionalKey(Name),
    group: Schema.optionalKey(GroupName),
    token: Schema.optionalKey(Secret),
    resume: Schema.optionalKey(Secret),
    heartbeat: Schema.optionalKey(Heartbeat)
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
  address: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]+$/))
}

/** What the server says. */
export const ServerMessage = Schema.Union([
  Schema.TaggedStruct("Rank", { rank: Whole, size: Whole, epoch: Whole, member: MemberId }),
  /** Tracked where it has an id, which is the server's. `epoch` is of the order it was routed on. */
  Schema.TaggedStruct("Exec", {
    id: Schema.optionalKey(CommandId),
    from: Whole,
    command: Words,
    epoch: Schema.optionalKey(Whole)
  }),
  /** Of the command that the issuer calls `id`; `rank` is the executor's when it was routed. */
  Schema.TaggedStruct("Output", { id: CommandId, rank: Whole, text: Output.check(Schema.isNonEmpty()) }),
  Schema.TaggedStruct("Result", {
    id: CommandId,
    rank: Whole,
    status: Status,
    output: Schema.optionalKey(Output),
    truncated: Schema.optionalKey(Schema.Boolean)
  }),
  /** A command to several has ended at each: with exit code 0 at `ok` of them. */
  Schema.TaggedStruct("Done", { id: CommandId, ok: Whole, notOk: Whole }),
  Schema.TaggedStruct("Cancel", { id: CommandId }),
  /** `count` is how many it would reach; `targets` the first of them, at most `MAX_LISTED_TARGETS`. */
  Schema.TaggedStruct("Targets", {
    count: Whole,
    targets: Schema.Array(Schema.Struct({ rank: Whole, member: MemberId }))
  }),
  Schema.TaggedStruct("Member", listed),
  Schema.TaggedStruct("End", { size: Whole, epoch: Whole }),
  /** What `Member` ... `End` say in text, as one message. */
  Schema.TaggedStruct("Roster", { size: Whole, epoch: Whole, members: Schema.Array(Schema.Struct(listed)) }),
  /**
   * Answers `Hello`. `maxLine` is the limit for the client's lines, in bytes; `resume`
   * is for a later `Hello`, where the server holds the places of the lost; `heartbeat`
   * is the one that was asked for, 0 for none.
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
    maxLine: Whole,
    heartbeat: Whole
  }),
  Schema.TaggedStruct("Joined", { rank: Whole, member: MemberId }),
  Schema.TaggedStruct("Left", { rank: Whole, member: MemberId, reason: LeaveReason }),
  Schema.TaggedStruct("Moved", { from: Whole, to: Whole, member: MemberId }),
  Schema.TaggedStruct("Named", { rank: Whole, member: MemberId, name: Name }),
  Schema.TaggedStruct("Ping", {}),
  Schema.TaggedStruct("Pong", { text: Schema.optionalKey(Words) }),
  Schema.TaggedStruct("Help", { text: Words }),
  Schema.TaggedStruct("Bye", { reason: ByeReason }),
  /** `rank` is the receiver's; none before admission. */
  Schema.TaggedStruct("Error", {
    /** The issuer's, where a tracked command was rejected as a whole. */
    id: Schema.optionalKey(CommandId),
    rank: Schema.optionalKey(Whole),
    reason: Reason,
    detail: Schema.optionalKey(Words)
  })
]).pipe(Schema.toTaggedUnion("_tag"))
export type ServerMessage = typeof ServerMessage.Type

/** Targets listed in one `TARGETS` line: it then stays below the smallest line limit that clients rely on. */
export const MAX_LISTED_TARGETS = 1000
