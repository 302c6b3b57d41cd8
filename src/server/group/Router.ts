/**
 * Delivers commands to the outboxes of their targets. `reach` has chosen the targets. The
 * router delivers to all of them; or to none, if one is congested or a line would be too long.
 *
 * A line for several targets is written once for each encoding, and every outbox refers to it.
 */
import type { Codec, ExecLines } from "../../protocol/Codec.ts"
import { copy } from "../../protocol/LineBytes.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Command, Delivery, Issuer } from "../commands/Command.ts"
import type { TrackedCommands } from "../commands/TrackedCommands.ts"
import type { Stats } from "../events/Stats.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import { SharedLines } from "../outbound/SharedLines.ts"
import type { Peer } from "../Peer.ts"
import type { Group } from "./Group.ts"

/** The outcome of a delivery. */
export type Delivered =
  /** All targets have it in their outboxes. For a tracked command, a target has it or an outcome. */
  | { readonly _tag: "Sent" }
  /** No target has it, because one is congested. Route it again when `outbox` is writable. */
  | { readonly _tag: "Held"; readonly outbox: Outbox }
  /** No target has it, because the line to one would be over the limit. */
  | { readonly _tag: "TooLong" }
  /** All targets have it, except `missed` ones that are closing or absent, and `denied` ones that may not execute commands. */
  | { readonly _tag: "Partly"; readonly missed: number; readonly denied: number }

/** The most bytes that the server's id adds to a line: `,"id":"9007199254740991"`. */
const ID_BYTES = 24

const LF = 0x0a

const SENT: Delivered = { _tag: "Sent" }
const TOO_LONG: Delivered = { _tag: "TooLong" }
const MISSED: Delivered = { _tag: "Partly", missed: 1, denied: 0 }
const DENIED: Delivered = { _tag: "Partly", missed: 0, denied: 1 }

/** A tracked command: the issuer, its id, whether it is for several targets, and its timeout in milliseconds. */
export interface Tracking {
  readonly issuer: Issuer
  readonly id: string
  readonly several: boolean
  readonly timeout: number
}

/** A command to route: `bytes` from `start` to `end`, and the order for it. */
export interface Routed {
  readonly group: Group
  readonly roster: Roster.Roster<Peer>
  /** The issuer's rank. */
  readonly from: number
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

/** The present command in one of the encodings that its targets speak. */
interface Encoding {
  readonly codec: Codec
  readonly lines: ExecLines
}

/** A shared line in one encoding: `bytes` from `start` to `end`. */
interface Span {
  readonly codec: Codec
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
}

export class Router {
  readonly #commands: TrackedCommands
  readonly #stats: Stats
  readonly #maxLine: number
  readonly #shared = new SharedLines()
  /** The targets of the present command, and the encodings that they speak. */
  readonly #targets: Array<Roster.Member<Peer>> = []
  readonly #codecs: Array<Codec> = []
  readonly #encodings: Array<Encoding> = []
  /** The target of the last command: often that of the next one, too. */
  #lastRoster: Roster.Roster<Peer> | undefined
  #lastRank = -1
  #lastTarget: Roster.Member<Peer> | undefined

  constructor(commands: TrackedCommands, stats: Stats, maxLine: number) {
    this.#commands = commands
    this.#stats = stats
    this.#maxLine = maxLine
  }

  /** Delivers the command to the ranks `first` to `last`. All of them must be below the issuer. */
  deliver(
    { bytes, end, from, group, roster, start }: Routed,
    first: number,
    last: number,
    tracking?: Tracking
  ): Delivered {
    if (first === last) return this.deliverToOne(group, roster, from, first, bytes, start, start, end, tracking)
    const congested = this.#gather(roster, first, last)
    if (congested !== undefined) return { _tag: "Held", outbox: congested }
    this.#encodings.length = 0
    for (const codec of this.#codecs) {
      const lines = codec.exec(from, roster.epoch, bytes, start, end)
      if (lines.line(undefined).length > this.#longest(tracking)) return TOO_LONG
      this.#encodings.push({ codec, lines })
    }
    let rank = first
    for (const target of this.#targets) group.notifier.tell(target, rank++, roster)
    if (tracking === undefined) return this.#share()
    this.#track(first, tracking)
    return SENT
  }

  /**
   * The same for one target: millions of these commands come in a second. `lineStart` is the
   * start of the issuer's line in `bytes`; it equals `start` if the bytes contain no line. If
   * the line to the target has the same length, the router overwrites the issuer's line and
   * passes the bytes on without a copy, and so consecutive lines become one piece of `bytes`.
   */
  deliverToOne(
    group: Group,
    roster: Roster.Roster<Peer>,
    from: number,
    rank: number,
    bytes: Uint8Array,
    lineStart: number,
    start: number,
    end: number,
    tracking?: Tracking
  ): Delivered {
    if (roster !== this.#lastRoster || rank !== this.#lastRank) {
      this.#lastTarget = Roster.at(roster, rank)
      this.#lastRoster = roster
      this.#lastRank = rank
    }
    const target = this.#lastTarget
    if (target === undefined) return MISSED
    const { codec, executes, outbox } = target.data
    if (outbox.congested) return { _tag: "Held", outbox }
    const lines = codec.exec(from, roster.epoch, bytes, start, end)
    const line = lines.line(undefined)
    if (line.length > this.#longest(tracking)) return TOO_LONG
    // The guard of `tell`, and the copying below, stand here in full: the calls cost more than they do.
    if (target.data.lastRankSent !== rank) group.notifier.tell(target, rank, roster)
    const { untracked } = this.#stats
    if (tracking !== undefined) {
      this.#append(this.#commands.add(this.#open(tracking, 1), rank, target.data), lines)
      return SENT
    }
    this.#stats.untrackedCommands++
    if (!executes) {
      untracked.denied++
      return DENIED
    }
    const { head } = line
    let taken: boolean
    if (line.bytes === bytes && start - lineStart === head.length && bytes[end] === LF) {
      copy(head.bytes, 0, head.length, bytes, lineStart)
      taken = outbox.appendShared(bytes, lineStart, end + 1)
    } else {
      taken = outbox.appendLineOf(line)
    }
    if (taken) untracked.delivered++
    else untracked.missed++
    return taken ? SENT : MISSED
  }

  /** The most bytes in a line without its id. */
  #longest(tracking: Tracking | undefined): number {
    return tracking === undefined ? this.#maxLine : this.#maxLine - ID_BYTES
  }

  /** Collects the targets and their encodings. Returns the outbox of a congested target, if there is one. */
  #gather(roster: Roster.Roster<Peer>, first: number, last: number): Outbox | undefined {
    this.#targets.length = 0
    this.#codecs.length = 0
    for (let rank = first; rank <= last; rank++) {
      const target = Roster.at(roster, rank)
      if (target === undefined) break
      const { codec, outbox } = target.data
      if (outbox.congested) return outbox
      if (!this.#codecs.includes(codec)) this.#codecs.push(codec)
      this.#targets.push(target)
    }
    return undefined
  }

  #share(): Delivered {
    const shared = this.#shared
    const spans = this.#encodings.map(({ codec, lines }): Span => {
      shared.add(lines.line(undefined))
      return { codec, bytes: shared.bytes, start: shared.start, end: shared.end }
    })
    let missed = 0
    let denied = 0
    let span: Span | undefined
    for (const { data } of this.#targets) {
      if (span?.codec !== data.codec) span = spans.find(({ codec }) => codec === data.codec)
      if (!data.executes) denied++
      else if (span === undefined || !data.outbox.appendShared(span.bytes, span.start, span.end)) missed++
    }
    const { untracked } = this.#stats
    this.#stats.untrackedCommands++
    untracked.delivered += this.#targets.length - missed - denied
    untracked.missed += missed
    untracked.denied += denied
    return missed + denied === 0 ? SENT : { _tag: "Partly", missed, denied }
  }

  /** Each target gets a line of its own, because it answers with an id of its own. */
  #track(first: number, tracking: Tracking): void {
    const command = this.#open(tracking, this.#targets.length)
    let rank = first
    for (const { data } of this.#targets) this.#commands.add(command, rank++, data)
    for (const { codec, lines } of this.#encodings) {
      for (const delivery of command.deliveries) if (delivery.target.codec === codec) this.#append(delivery, lines)
    }
  }

  #open({ id, issuer, several, timeout }: Tracking, targets: number): Command {
    return this.#commands.open(issuer, id, several, timeout, targets)
  }

  #append(delivery: Delivery, lines: ExecLines): void {
    const { executes, outbox } = delivery.target
    if (!executes) this.#commands.finish(delivery, "denied")
    else if (!outbox.appendLineOf(lines.line(delivery.id), delivery)) this.#commands.finish(delivery, "undelivered")
  }
}
