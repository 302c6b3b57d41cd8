/**
 * What happened, as plain integers that only grow: bumped where things happen, read
 * when somebody asks. No counter costs more than an addition.
 */
import type { RefusalCause, SlowConsumerCause } from "./CloseCause.ts"

/** How often each of these happened; one that never did is missing. */
export type Counts<Name extends string = string> = { [name in Name]?: number }

export const count = <Name extends string>(counts: Counts<Name>, name: Name): void => {
  counts[name] = (counts[name] ?? 0) + 1
}

export class Stats {
  /** Connections, whatever became of them. Those open now are the difference. */
  connectionsOpened = 0
  connectionsClosed = 0
  /** Clients that got a seat, each change of the group included; and those that came back to theirs. */
  admissions = 0
  resumptions = 0
  /** Members that left, by the reason that watchers get. */
  readonly departures: Counts = {}
  /** Connections closed without ever having had a seat, by cause. */
  readonly refusals: Counts<RefusalCause> = {}
  /** Lines answered with an `ERROR`, by reason. */
  readonly rejections: Counts = {}
  /** Targets of untracked commands: those that have the line, those that were being closed or absent, those that may not execute. */
  readonly untracked = { delivered: 0, missed: 0, denied: 0 }
  /** Tracked commands, and how they ended at each target: an exit code counts as `ok` or `failed`. */
  trackedCommands = 0
  readonly outcomes: Counts = {}
  /** Results of commands that had ended already. */
  lateResults = 0
  bytesReceived = 0
  bytesSent = 0
  readonly slowConsumers: Counts<SlowConsumerCause> = {}
}
