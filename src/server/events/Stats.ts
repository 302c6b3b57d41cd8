/**
 * Counters of a server: plain integers that only grow. The server adds to them where things
 * happen; a reader reads them whenever it likes. A counter costs one addition.
 */
import type { OtherProtocolCause, RefusalCause, SlowConsumerCause } from "./CloseCause.ts"

/** A number for each name. A name that never occurred is missing. */
export type Counts<Name extends string = string> = { [name in Name]?: number }

export const count = <Name extends string>(counts: Counts<Name>, name: Name): void => {
  counts[name] = (counts[name] ?? 0) + 1
}

/** The counters of one server. */
export class Stats {
  /** All connections, refused ones included. The difference is the number of open connections. */
  connectionsOpened = 0
  connectionsClosed = 0
  /** Seats taken, also by a change of the group; and members that came back to their reserved seats. */
  admissions = 0
  resumptions = 0
  /** Members that left, by the reason that watchers get. */
  readonly departures: Counts = {}
  /** Clients that the server closed before they had a seat, by cause. */
  readonly refusals: Counts<RefusalCause> = {}
  /** Lines answered with an `ERROR`, by reason. */
  readonly rejections: Counts = {}
  /** Untracked commands that were routed, however many targets each has. */
  untrackedCommands = 0
  /** Targets of untracked commands: received; not received, because closing or absent; not allowed to execute. */
  readonly untracked = { delivered: 0, missed: 0, denied: 0 }
  /** Tracked commands, and their outcomes at each target, by status. Exit code 0 counts as `ok`, any other as `failed`. */
  trackedCommands = 0
  readonly outcomes: Counts = {}
  /** Results that came after their commands had ended. */
  lateResults = 0
  bytesReceived = 0
  bytesSent = 0
  readonly slowConsumers: Counts<SlowConsumerCause> = {}
  readonly otherProtocols: Counts<OtherProtocolCause> = {}
}
