/** The order itself, without a server: the time of an operation, by the number of members. */
import * as Roster from "../src/rank/Roster.ts"

/** Nanoseconds per operation. */
export interface RosterTimes {
  readonly join: number
  readonly leave: number
  readonly rankOf: number
  readonly at: number
}

/** The results are added up, so that the compiler cannot remove the operation. */
const nanoseconds = (operations: number, operation: () => number): number => {
  let sum = 0
  for (let i = 0; i < operations / 10; i++) sum += operation()
  const start = performance.now()
  for (let i = 0; i < operations; i++) sum += operation()
  const nanoseconds = ((performance.now() - start) * 1e6) / operations
  return Number.isNaN(sum) ? sum : nanoseconds
}

export const rosterTimes = (size: number, operations: number): RosterTimes => {
  let roster: Roster.Roster<undefined> = Roster.empty
  let nextId = 1
  const join = () => {
    roster = Roster.join(roster, nextId++, undefined, 0)
    return roster.epoch
  }
  while (nextId <= size) join()
  const full = roster
  /** Random members or ranks, as many as there are members. */
  const some = () => Math.floor(Math.random() * size)
  return {
    join: nanoseconds(operations, join),
    leave: nanoseconds(operations, () => Roster.leave(full, some() + 1, 0).epoch),
    rankOf: nanoseconds(operations, () => Roster.rankOf(full, some() + 1)!),
    at: nanoseconds(operations, () => Roster.at(full, some())!.id)
  }
}
