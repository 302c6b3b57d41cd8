/**
 * The members of one group in order of admission, as immutable data and plain functions.
 *
 * No rank is stored. Each admission takes the next *seat*, a number that only grows. A
 * member's rank is the number of taken seats before its own. When a member leaves, its
 * seat is empty, and so all members behind it have moved up, without a write to them.
 * `join`, `leave`, `rankOf` and `at` each walk one `CountedTrie` or two. A roster never
 * changes, so it is a snapshot of the order.
 *
 * It does not know what the `data` of a member is, and knows neither sockets nor effects.
 */
import { HashMap, Option } from "effect"
import * as CountedTrie from "./CountedTrie.ts"
import * as Epoch from "./Epoch.ts"

export interface Member<A> {
  /** The caller chooses it, and never uses it again. On the wire it is `m<id>`. */
  readonly id: number
  readonly name: string | undefined
  readonly data: A
}

export interface Roster<A> {
  /** Grows with every change of the order: the fencing token. See `Epoch`. */
  readonly epoch: number
  readonly nextSeat: number
  /** The member in each seat. The order of the seats is the order of the ranks. */
  readonly members: CountedTrie.CountedTrie<Member<A>>
  /** The seat of each member, by member id. */
  readonly seats: CountedTrie.CountedTrie<number>
  /** Member ids by name. */
  readonly names: HashMap.HashMap<string, number>
}

export const empty: Roster<never> = {
  epoch: 0,
  nextSeat: 0,
  members: CountedTrie.empty,
  seats: CountedTrie.empty,
  names: HashMap.empty()
}

export const size = (self: Roster<unknown>): number => CountedTrie.size(self.members)

/** The member at `rank`; undefined if there is none. */
export const at = <A>(self: Roster<A>, rank: number): Member<A> | undefined => CountedTrie.at(self.members, rank)

/** The members from rank `first` to before rank `end`; fewer if the roster is smaller. */
export const slice = <A>(self: Roster<A>, first: number, end: number): Array<Member<A>> => {
  const members: Array<Member<A>> = []
  for (let rank = first; rank < end; rank++) {
    const member = at(self, rank)
    if (member === undefined) break
    members.push(member)
  }
  return members
}

/** The rank of the member with this id; undefined if it is not in the group. */
export const rankOf = (self: Roster<unknown>, id: number): number | undefined => {
  const seat = CountedTrie.get(self.seats, id)
  return seat === undefined ? undefined : CountedTrie.countBelow(self.members, seat)
}

export const byId = <A>(self: Roster<A>, id: number): Member<A> | undefined => {
  const seat = CountedTrie.get(self.seats, id)
  return seat === undefined ? undefined : CountedTrie.get(self.members, seat)
}

export const byName = <A>(self: Roster<A>, name: string): Member<A> | undefined => {
  const id = Option.getOrUndefined(HashMap.get(self.names, name))
  return id === undefined ? undefined : byId(self, id)
}

const seated = <A>(self: Roster<A>, member: Member<A>, now: number): Roster<A> => ({
  epoch: Epoch.next(self.epoch, now),
  nextSeat: self.nextSeat + 1,
  members: CountedTrie.set(self.members, self.nextSeat, member),
  seats: CountedTrie.set(self.seats, member.id, self.nextSeat),
  names: self.names
})

const unseated = <A>(self: Roster<A>, id: number, seat: number): Roster<A> => ({
  ...self,
  members: CountedTrie.remove(self.members, seat),
  seats: CountedTrie.remove(self.seats, id)
})

/** Admits `id` as the last. The id must not be in the group. */
export const join = <A>(self: Roster<A>, id: number, data: A, now: number): Roster<A> =>
  seated(self, { id, name: undefined, data }, now)

/** Removes `id` and frees its name; the same roster if it is not in the group. */
export const leave = <A>(self: Roster<A>, id: number, now: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  if (seat === undefined) return self
  const name = CountedTrie.get(self.members, seat)?.name
  return {
    ...unseated(self, id, seat),
    epoch: Epoch.next(self.epoch, now),
    names: name === undefined ? self.names : HashMap.remove(self.names, name)
  }
}

/** Makes `id` the last, as if it had just been admitted; it keeps its name. */
export const stepDown = <A>(self: Roster<A>, id: number, now: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  const member = seat === undefined ? undefined : CountedTrie.get(self.members, seat)
  return seat === undefined || member === undefined ? self : seated(unseated(self, id, seat), member, now)
}

/**
 * Replaces the data of `id`. No member moves, but the epoch grows: the client that was this
 * member until now must not act as it any more.
 */
export const replace = <A>(self: Roster<A>, id: number, data: A, now: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  const member = seat === undefined ? undefined : CountedTrie.get(self.members, seat)
  if (seat === undefined || member === undefined) return self
  return {
    ...self,
    epoch: Epoch.next(self.epoch, now),
    members: CountedTrie.set(self.members, seat, { ...member, data })
  }
}

/** Gives `id` this name, and frees the name that it had. The order and the epoch stay the same. */
export const rename = <A>(self: Roster<A>, id: number, name: string): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  const member = seat === undefined ? undefined : CountedTrie.get(self.members, seat)
  if (seat === undefined || member === undefined) return self
  const others = member.name === undefined ? self.names : HashMap.remove(self.names, member.name)
  return {
    ...self,
    members: CountedTrie.set(self.members, seat, { ...member, name }),
    names: HashMap.set(others, name, id)
  }
}

/** Takes the name from `id`. The order and the epoch stay the same. */
export const unname = <A>(self: Roster<A>, id: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  const member = seat === undefined ? undefined : CountedTrie.get(self.members, seat)
  if (seat === undefined || member?.name === undefined) return self
  return {
    ...self,
    members: CountedTrie.set(self.members, seat, { ...member, name: undefined }),
    names: HashMap.remove(self.names, member.name)
  }
}

/** Makes the epoch at least `least`. The order stays the same. */
export const raise = <A>(self: Roster<A>, least: number): Roster<A> =>
  self.epoch >= least ? self : { ...self, epoch: least }
