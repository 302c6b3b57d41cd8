/**
 * The rule: a command travels only down. First the pure decision, whom a command
 * reaches in an order as it is now, or why it reaches nobody; then the delivery.
 */
import { jsonCodec } from "../../protocol/json/JsonCodec.ts"
import { copy, Head, Shared } from "../../protocol/LineBytes.ts"
import type { Reason } from "../../protocol/Reasons.ts"
import type { Target } from "../../protocol/Target.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Commands } from "../commands/Commands.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import type { Client } from "../Peer.ts"
import type { Group } from "./Group.ts"

/** The ranks from `first` to `last`, both included; or why not. */
export type Reach = { readonly first: number; readonly last: number } | Reason

/** Whether the holder of rank `issuer`, of `size` members, may command the ranks `first` to `last`: the rule. */
export const judge = (issuer: number, size: number, first: number, last: number): Reason | undefined => {
  if (first <= issuer) return "rank too high"
  if (last >= size) return "no such rank"
  return undefined
}

/** The ranks that `to` stands for, seen from rank `issuer`. */
export const reach = (roster: Roster.Roster<unknown>, issuer: number, to: Target): Reach => {
  const size = Roster.size(roster)
  switch (to._tag) {
    case "Rank":
      return judge(issuer, size, to.rank, to.rank) ?? { first: to.rank, last: to.rank }
    case "Range":
      return judge(issuer, size, to.first, to.last) ?? to
    case "Everyone":
      return issuer + 1 < size ? { first: issuer + 1, last: size - 1 } : "nobody below"
    case "Member": {
      const rank = rankOf(roster, to.who)
      if (rank === undefined) return "no such member"
      return judge(issuer, size, rank, rank) ?? { first: rank, last: rank }
    }
  }
}

/** A name is never like a member id, so the one or the other is meant. */
export const rankOf = (roster: Roster.Roster<unknown>, who: string): number | undefined => {
  const id = /^m[0-9]+$/.test(who) ? Number(who.slice(1)) : Roster.byName(roster, who)?.id
  return id === undefined ? undefined : Roster.rankOf(roster, id)
}

/** What became of a delivery. */
export type Delivered =
  /** All targets have it on their connections; those of a tracked command have it, or are told of as `undelivered`. */
  | { readonly _tag: "Sent" }
  /** Nobody has it: a target is congested. To be routed anew after `outbox.relief`. */
  | { readonly _tag: "Held"; readonly outbox: Outbox }
  /** Nobody has it: the line to the targets would be over the limit. */
  | { readonly _tag: "TooLong" }
  /** All but `missed` of them, which are being closed or absent, and `denied`, which may not execute, have it. */
  | { readonly _tag: "Missed"; readonly missed: number; readonly denied: number }
  /** All but `denied` of them have it: those may not execute. */
  | { readonly _tag: "Denied"; readonly denied: number }

/** What an id of the server's adds to a line, at most: `,"id":"9007199254740991"`. */
const ID_BYTES = 24

const LF = 0x0a

const NOTHING = Buffer.alloc(0)

const SENT: Delivered = { _tag: "Sent" }

/** A tracked command: the issuer, what it calls it, whether it is to several, and its timeout in milliseconds. */
export interface Tracking {
  readonly issuer: Client
  readonly id: string
  readonly several: boolean
  readonly timeout: number
}

export class Router {
  readonly #commands: Commands
  readonly #maxLine: number
  /** Lines to several targets, those that speak text. */
  readonly #shared = new Shared()
  readonly #targets: Array<Roster.Member<Client>> = []
  /** `EXEC <rank> ` of the issuer that was last, with which each line to its targets begins. */
  readonly #head = new Head()
  #headRank = -1
  /** The same of a tracked command, which has an id. */
  readonly #trackedHead = new Head()
  /** The target that was last, which the next often is, too. */
  #lastRoster: Roster.Roster<Client> | undefined
  #lastRank = -1
  #lastTarget: Roster.Member<Client> | undefined

  constructor(commands: Commands, maxLine: number) {
    this.#commands = commands
    this.#maxLine = maxLine
  }

  /**
   * Puts the command on the connections of the members at the ranks `first` to
   * `last` of `roster`, which is the order as it is now. The command is `bytes`
   * from `start` to `end`.
   */
  deliver(
    { announcer }: Group,
    roster: Roster.Roster<Client>,
    issuer: number,
    first: number,
    last: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    tracking?: Tracking
  ): Delivered {
    const targets = this.#targets
    targets.length = 0
    let toJson = false
    for (let rank = first; rank <= last; rank++) {
      const target = Roster.at(roster, rank)!
      if (target.data.outbox.congested) return { _tag: "Held", outbox: target.data.outbox }
      if (target.data.encoding === "json") toJson = true
      targets.push(target)
    }

    const head = this.#headOf(issuer)
    const length = head.length + (end - start) + 1
    const json = toJson ? jsonLine(roster.epoch, issuer, bytes.subarray(start, end)) : NOTHING
    if (Math.max(length, json.length) + (tracking === undefined ? 0 : ID_BYTES) > this.#maxLine) {
      return { _tag: "TooLong" }
    }
    for (let i = 0; i < targets.length; i++) announcer.tell(targets[i]!, first + i, roster)
    if (tracking !== undefined) {
      this.#track(roster.epoch, issuer, first, bytes, start, end, tracking)
      return SENT
    }

    const shared = this.#shared
    shared.add(head, bytes, start, end)
    let missed = 0
    let denied = 0
    for (let i = 0; i < targets.length; i++) {
      const { encoding, executes, outbox } = targets[i]!.data
      if (!executes) {
        denied++
        continue
      }
      const taken =
        encoding === "json"
          ? outbox.append(json, 0, json.length)
          : outbox.appendShared(shared.bytes, shared.start, shared.end)
      if (!taken) missed++
    }
    if (missed > 0) return { _tag: "Missed", missed, denied }
    return denied > 0 ? { _tag: "Denied", denied } : SENT
  }

  /**
   * The same to one target, untracked: what comes in millions. The command's own
   * line begins at `line`. Where the line to the target is as long, it takes its
   * place in the bytes, and these are passed on as they are: one line after the
   * other becomes one piece of what was read.
   */
  deliverToOne(
    group: Group,
    roster: Roster.Roster<Client>,
    issuer: number,
    rank: number,
    bytes: Uint8Array,
    line: number,
    start: number,
    end: number
  ): Delivered {
    if (roster !== this.#lastRoster || rank !== this.#lastRank) {
      this.#lastTarget = Roster.at(roster, rank)
      this.#lastRoster = roster
      this.#lastRank = rank
    }
    const target = this.#lastTarget!
    const { encoding, executes, outbox } = target.data
    if (encoding === "json" || !executes) return this.deliver(group, roster, issuer, rank, rank, bytes, start, end)
    if (outbox.congested) return { _tag: "Held", outbox }
    const head = this.#headOf(issuer)
    if (head.length + (end - start) + 1 > this.#maxLine) return { _tag: "TooLong" }
    group.announcer.tell(target, rank, roster)
    let taken: boolean
    if (start - line === head.length && bytes[end] === LF) {
      copy(head.bytes, 0, head.length, bytes, line)
      taken = outbox.appendShared(bytes, line, end + 1)
    } else {
      taken = outbox.appendLineOf(head, bytes, start, end)
    }
    return taken ? SENT : { _tag: "Missed", missed: 1, denied: 0 }
  }

  #headOf(issuer: number): Head {
    if (issuer !== this.#headRank) {
      this.#head.write(`EXEC ${issuer} `)
      this.#headRank = issuer
    }
    return this.#head
  }

  /** Each target gets a line of its own: it has an id of its own to answer with. */
  #track(
    epoch: number,
    from: number,
    first: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    tracking: Tracking
  ): void {
    const { id, issuer, several, timeout } = tracking
    const command = this.#commands.open(issuer, id, several, timeout)
    const targets = this.#targets
    for (let i = 0; i < targets.length; i++) this.#commands.add(command, first + i, targets[i]!.data)
    const { tasks } = command
    let json: string | undefined
    for (let i = 0; i < tasks.length; i++) {
      const task = tasks[i]!
      const { encoding, executes, outbox } = task.target
      if (!executes) {
        this.#commands.finish(task, "denied")
        continue
      }
      let taken: boolean
      if (encoding === "text") {
        taken = outbox.appendLineOf(
          this.#trackedHead.write("EXEC#").number(task.id).text(" ").number(from).text(" "),
          bytes,
          start,
          end,
          task
        )
      } else {
        json ??= utf8(bytes.subarray(start, end))
        const line = Buffer.from(jsonCodec.encodeServer({ _tag: "Exec", id: `${task.id}`, from, command: json, epoch }))
        taken = outbox.appendLineOf(this.#trackedHead.write(""), line, 0, line.length, task)
      }
      if (!taken) this.#commands.finish(task, "undelivered")
    }
  }
}

const jsonLine = (epoch: number, from: number, command: Uint8Array): Buffer =>
  Buffer.from(`${jsonCodec.encodeServer({ _tag: "Exec", from, command: utf8(command), epoch })}\n`)

const utf8 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
