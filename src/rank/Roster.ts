/**
 * Who stands where: one group's members in order of admission, as plain
 * immutable data and plain functions.
 *
 * A rank is stored nowhere. Every admission takes the next *seat*, a number that
 * only grows; a member's rank is the count of taken seats before its own. When a
 * member leaves, its seat is empty and everyone behind it has moved up, without a
 * single write to them. `join`, `leave`, `rankOf` and `at` each walk one
 * `CountedTrie` (or two), and a roster once made stays valid as a snapshot.
 *
 * It does not know what a member is made of (`data`), nor sockets, nor Effect.
 */
import { HashMap, Option } from "effect"
import * as CountedTrie from "./CountedTrie.ts"

export interface Member<A> {
  /** Given by the caller, never reused; on the wire `m<id>`. */
  readonly id: number
  readonly name: string | undefined
  readonly data: A
}

export interface Roster<A> {
  /** Strictly increases with every change of the order: the fencing token. */
  readonly epoch: number
  readonly nextSeat: number
  /** Seat to member. The order of the seats is the order of the ranks. */
  readonly members: CountedTrie.CountedTrie<Member<A>>
  /** Member id to seat. */
  readonly seats: CountedTrie.CountedTrie<number>
  /** Name to member id. */
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

/** The member at `rank`; undefined where nobody stands there. */
export const at = <A>(self: Roster<A>, rank: number): Member<A> | undefined => CountedTrie.at(self.members, rank)

/** The members from rank `first` to before rank `end`, as far as there are any. */
export const slice = <A>(self: Roster<A>, first: number, end: number): Array<Member<A>> => {
  const members: Array<Member<A>> = []
  for (let rank = first; rank < end; rank++) {
    const member = at(self, rank)
    if (member === undefined) break
    members.push(member)
  }
  return members
}

/** The rank of the member with this id; undefined where it is not in the group. */
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

/**
 * A hybrid logical clock: at least one more than before, and not behind the wall
 * clock (`now`, in microseconds), so that it keeps increasing over a restart. In
 * milliseconds a thousand clients that come at once would take it past that clock,
 * and a server started again in the same second would begin behind it.
 * Kulkarni et al., "Logical Physical Clocks", 2014.
 */
const nextEpoch = (self: Roster<unknown>, now: number): number => Math.max(self.epoch + 1, now)

const seated = <A>(self: Roster<A>, member: Member<A>, now: number): Roster<A> => ({
  epoch: nextEpoch(self, now),
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

/** Admits `id`, last. The id must not be in the group. */
export const join = <A>(self: Roster<A>, id: number, data: A, now: number): Roster<A> =>
  seated(self, { id, name: undefined, data }, now)

/** Removes `id` and frees its name; the same roster where it is not in the group. */
export const leave = <A>(self: Roster<A>, id: number, now: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  if (seat === undefined) return self
  const name = CountedTrie.get(self.members, seat)?.name
  return {
    ...unseated(self, id, seat),
    epoch: nextEpoch(self, now),
    names: name === undefined ? self.names : HashMap.remove(self.names, name)
  }
}

/** Makes `id` the last, as if it had been admitted just now; it keeps its name. */
export const stepDown = <A>(self: Roster<A>, id: number, now: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  const member = seat === undefined ? undefined : CountedTrie.get(self.members, seat)
  return seat === undefined || member === undefined ? self : seated(unseated(self, id, seat), member, now)
}

/**
 * Puts `data` in the place of what `id` had. Nobody moves, and yet the epoch is larger: a
 * client that acted as this member until now must not act any more.
 */
export const replace = <A>(self: Roster<A>, id: number, data: A, now: number): Roster<A> => {
  const seat = CountedTrie.get(self.seats, id)
  const member = seat === undefined ? undefined : CountedTrie.get(self.members, seat)
  if (seat === undefined || member === undefined) return self
  return {
    ...self,
    epoch: nextEpoch(self, now),
    members: CountedTrie.set(self.members, seat, { ...member, data })
  }
}

/** Gives `id` this name in place of the one that it had. The order stays, and so does the epoch. */
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
