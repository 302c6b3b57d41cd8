/** The order itself, without a server around it: how long an operation takes, by how many members there are. */
import * as Roster from "../src/rank/Roster.ts"

/** Nanoseconds an operation. */
export interface RosterTimes {
  readonly join: number
  readonly leave: number
  readonly rankOf: number
  readonly at: number
}

/** The operation's result is a number, which is added up so that nothing of it is optimised away. */
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
  /** A member or a rank by chance, as many as there are of them. */
  const some = () => Math.floor(Math.random() * size)
  return {
    join: nanoseconds(operations, join),
    leave: nanoseconds(operations, () => Roster.leave(full, some() + 1, 0).epoch),
    rankOf: nanoseconds(operations, () => Roster.rankOf(full, some() + 1)!),
    at: nanoseconds(operations, () => Roster.at(full, some())!.id)
  }
}
