/** Takes commands from the client's line to the `Router`: finds their targets, and answers with the outcome. */
import { Duration } from "effect"
import { memberIdOf } from "../../protocol/Ids.ts"
import { type ClientMessage, MAX_LISTED_TARGETS } from "../../protocol/Messages.ts"
import { isForSeveral, type Target } from "../../protocol/Target.ts"
import type { ExecScanner } from "../../protocol/text/ExecScanner.ts"
import * as Roster from "../../rank/Roster.ts"
import type { Delivered, Routed, Tracking } from "../group/Router.ts"
import { type Reach, reach } from "../group/reach.ts"
import type { Peer } from "../Peer.ts"
import type { ClientSession, Seated } from "./ClientSession.ts"
import { mayIssue } from "./guards.ts"
import { DONE, reject, retry, type Step } from "./Step.ts"

/** The cost of a further target of a line, in deliveries: the targets share most of the bytes. */
const SHARED_COST = 1 / 8

const EVERYONE: Target = { _tag: "Everyone" }

/** Executes the `EXEC` or `EXEC#` that the scanner has read. Its line begins at `line`. */
export const issueScanned = (
  session: ClientSession,
  seated: Seated,
  { command: start, everyone, first, idEnd, idStart, last, range }: ExecScanner,
  bytes: Uint8Array,
  line: number,
  end: number
): Step => {
  const id = idEnd > idStart ? ascii(bytes, idStart, idEnd) : undefined
  const rejected = seated.checked ? mayIssue(session, seated, id) : undefined
  if (rejected !== undefined) return rejected
  const { context } = session
  const { rank: from, roster, seat } = seated
  const timeout = context.commandTimeout
  const toOne = !everyone && first === last && first > from && first < Roster.size(roster)
  // The hot path: no allocation, except what is kept.
  if (toOne && context.phase === "serving") {
    const refused = id === undefined ? undefined : mayTrack(session, id, 1)
    if (refused !== undefined) return refused
    const tracking = id === undefined ? undefined : { issuer: session.issuer(), id, several: range, timeout }
    const { router } = context
    const delivered = router.deliverToOne(seat.group, roster, from, first, bytes, line, start, end, tracking)
    return outcome(session, delivered, 1, id)
  }
  const reached = reach(roster, from, everyone ? EVERYONE : { _tag: "Range", first, last })
  const routed = { group: seat.group, roster, from, bytes, start, end }
  return id === undefined
    ? route(session, reached, routed)
    : track(session, reached, routed, id, everyone || range, timeout)
}

const ascii = (bytes: Uint8Array, start: number, end: number): string => {
  let text = ""
  for (let i = start; i < end; i++) text += String.fromCharCode(bytes[i] ?? 0)
  return text
}

/** Executes an `EXEC` that the scanner does not read: to a name, with a condition, or in JSON. */
export const issue = (session: ClientSession, seated: Seated, message: ClientMessage & { _tag: "Exec" }): Step => {
  const { command, epoch, id, member, timeout, to } = message
  const { commandTimeout, settings } = session.context
  const { rank: from, roster, seat } = seated
  const reached = reach(roster, from, to)
  if (epoch !== undefined && epoch !== roster.epoch) return reject("stale epoch", undefined, id)
  if (member !== undefined && !isOnly(member, roster, reached)) {
    return reject("stale epoch", `${member} alone does not stand there`, id)
  }
  const bytes = Buffer.from(command)
  const routed = { group: seat.group, roster, from, bytes, start: 0, end: bytes.length }
  if (id === undefined) return route(session, reached, routed)
  const longest = Duration.toMillis(settings.maxCommandTimeout)
  if (timeout !== undefined && timeout > longest) {
    return reject("malformed", `a command may take ${longest} ms at most`, id)
  }
  return track(session, reached, routed, id, isForSeveral(to), timeout ?? commandTimeout)
}

/** Whether this member is the only target. Also true for `rank too high`: then that is the answer. */
const isOnly = (member: string, roster: Roster.Roster<Peer>, reached: Reach): boolean => {
  if (typeof reached === "string") return reached === "rank too high"
  const { first, last } = reached
  const at = first === last ? Roster.at(roster, first) : undefined
  return at !== undefined && memberIdOf(at.id) === member
}

/** Whether the client may open one more tracked command, with so many targets. */
const mayTrack = (session: ClientSession, id: string, targets: number): Step => {
  const { commands, settings } = session.context
  if (!commands.hasRoomFor(targets)) return reject("too many open commands", "of all clients together", id)
  const { open } = session.issuer()
  if (open.has(id)) return reject("duplicate id", undefined, id)
  return open.size >= settings.maxOpenCommands ? reject("too many open commands", undefined, id) : undefined
}

const track = (
  session: ClientSession,
  reached: Reach,
  routed: Routed,
  id: string,
  several: boolean,
  timeout: number
): Step => {
  const targets = typeof reached === "string" ? 0 : reached.last - reached.first + 1
  const tracking = { issuer: session.issuer(), id, several, timeout }
  return mayTrack(session, id, targets) ?? route(session, reached, routed, tracking)
}

const route = (session: ClientSession, reached: Reach, routed: Routed, tracking?: Tracking): Step => {
  const { phase, router } = session.context
  if (phase !== "serving") return reject("shutting down", undefined, tracking?.id)
  if (typeof reached === "string") return reject(reached, undefined, tracking?.id)
  const { first, last } = reached
  return outcome(session, router.deliver(routed, first, last, tracking), last - first + 1, tracking?.id)
}

/** The step for a delivery to so many targets. */
const outcome = (session: ClientSession, delivered: Delivered, targets: number, id: string | undefined): Step => {
  switch (delivered._tag) {
    case "Sent":
      session.budget -= (targets - 1) * SHARED_COST
      return DONE
    case "Held":
      return retry(delivered.outbox.writable, true)
    case "TooLong":
      return reject("malformed", `a target's line would have more than ${session.context.settings.maxLine} bytes`, id)
    case "Partly": {
      const { denied, missed } = delivered
      if (missed === 0) {
        return reject("not authorized", `not delivered to ${denied} of ${targets}: may not execute`)
      }
      const others = denied === 0 ? "" : `; nor to ${denied}: may not execute`
      const detail = `not delivered to ${missed} of ${targets}: being closed, or absent${others}`
      // The closing targets leave before the next line is routed.
      return { _tag: "Reject", reason: "busy", detail, thenYield: true }
    }
  }
}

/** Answers which members a command would reach. */
export const explain = (session: ClientSession, roster: Roster.Roster<Peer>, reached: Reach): Step => {
  if (typeof reached === "string") return reject(reached)
  const { first, last } = reached
  const count = last - first + 1
  const members = Roster.slice(roster, first, first + Math.min(count, MAX_LISTED_TARGETS))
  const targets = members.map(({ id }, i) => ({ rank: first + i, member: memberIdOf(id) }))
  session.send({ _tag: "Targets", count, targets })
  return DONE
}
