/**
 * The order of one group: a roster in a `SynchronizedRef`. Every change is one
 * atomic step, and observers see the changes in the order in which they happen.
 *
 * Invariant: `join` is scoped. The member leaves when the scope closes, for whatever
 * reason, and then the members behind it move up.
 */
import { Clock, Effect, type Exit, Schema, Scope, SynchronizedRef } from "effect"
import * as Epoch from "./Epoch.ts"
import * as Roster from "./Roster.ts"

/**
 * A change of the order. Ranks are those right after the change; `Left.rank` is the rank
 * that the member had. A member that joins with a name causes `Joined` only, and no `Named`.
 */
export type Change<A, Reason> =
  | { readonly _tag: "Joined"; readonly rank: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Left"; readonly rank: number; readonly member: Roster.Member<A>; readonly reason: Reason }
  | { readonly _tag: "Moved"; readonly from: number; readonly to: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Named"; readonly rank: number; readonly member: Roster.Member<A> & { readonly name: string } }

/**
 * Runs within the atomic step of a change: for every change, once and in order. It must
 * not fail, block or do I/O.
 */
export type Observer<A, Reason> = (change: Change<A, Reason>, roster: Roster.Roster<A>) => void

/**
 * Runs within the atomic step of a change, before the observers. No command can reach the
 * member under its new rank or name before this has run.
 */
export type Announce<A> = (member: Roster.Member<A>, rank: number, roster: Roster.Roster<A>) => void

/** The group has `capacity` members, and takes no more. */
export class GroupFull extends Schema.TaggedError<GroupFull>()("GroupFull", { capacity: Schema.Int }) {
  override get message() {
    return `the group already has ${this.capacity} members`
  }
}

/** Another member of the group has this name. */
export class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", { name: Schema.String }) {
  override get message() {
    return `another member has the name ${this.name}`
  }
}

/** A member that joins: its id, its name, which must be free, and what it knows. */
export interface Identity<A> {
  /** By default the member gets a new id. */
  readonly id?: number | undefined
  readonly name?: string | undefined
  /** Whether it may take the name from the member that has it: that member then has no name. */
  readonly takesNameOf?: ((data: A) => boolean) | undefined
  /** The largest epoch of the group that it knows. */
  readonly epoch?: number | undefined
}

export interface RankRefOptions<A, Reason> {
  /** The most members of the group. */
  readonly capacity: number
  /** Whether the member at rank 0 only keeps others from this rank. Then it does not count for the capacity. */
  readonly isPlaceholder?: (data: A) => boolean
  /** Returns a new id on each call. */
  readonly nextMemberId: () => number
  /** Every epoch of this group is larger than this one. */
  readonly epoch: number
  /** The reason of a departure, from the exit that closed the member's scope. */
  readonly reasonOf: (exit: Exit.Exit<unknown, unknown>) => Reason
}

const noAnnounce: Announce<unknown> = () => {}

/** The roster in which the name is free; undefined if a member has it that does not give it up. */
const freed = <A>(
  roster: Roster.Roster<A>,
  name: string,
  givesUp: (holder: Roster.Member<A>) => boolean
): Roster.Roster<A> | undefined => {
  const holder = Roster.byName(roster, name)
  if (holder === undefined) return roster
  return givesUp(holder) ? Roster.unname(roster, holder.id) : undefined
}

export class RankRef<A, Reason> {
  readonly ref: SynchronizedRef.SynchronizedRef<Roster.Roster<A>>
  readonly #options: RankRefOptions<A, Reason>
  readonly #observers = new Set<Observer<A, Reason>>()

  constructor(options: RankRefOptions<A, Reason>) {
    this.#options = options
    this.ref = SynchronizedRef.makeUnsafe<Roster.Roster<A>>({ ...Roster.empty, epoch: options.epoch })
  }

  /** The order at this moment: an immutable snapshot. */
  snapshot(): Roster.Roster<A> {
    return SynchronizedRef.getUnsafe(this.ref)
  }

  /** Admits a member as the last, until the scope closes. A member that comes from another group keeps its id. */
  join(
    data: A,
    as: Identity<A> = {},
    announce: Announce<A> = noAnnounce
  ): Effect.Effect<Roster.Member<A>, GroupFull | NameTaken, Scope.Scope> {
    // `acquireRelease` would keep the whole context of the admission in memory for every member.
    return Effect.flatMap(Effect.scope, (scope) =>
      Effect.uninterruptible(
        Effect.tap(this.#admit(data, as, announce), ({ id }) => Scope.addFinalizerExit(scope, this.#leaving(id)))
      )
    )
  }

  /** Makes the member the last, as if it had just joined. */
  stepDown(id: number): Effect.Effect<void> {
    return this.#step<void>((before, now) => {
      const from = Roster.rankOf(before, id)
      const member = Roster.byId(before, id)
      if (from === undefined || member === undefined) return [undefined, before]
      const after = Roster.stepDown(before, id, now)
      this.#notify({ _tag: "Moved", from, to: Roster.size(after) - 1, member }, after)
      return [undefined, after]
    })
  }

  /** Gives the member this name, and frees the name that it had. The epoch grows only to be above `known`. */
  rename(
    id: number,
    name: string,
    announce: Announce<A> = noAnnounce,
    known?: number,
    takesNameOf?: (data: A) => boolean
  ): Effect.Effect<void, NameTaken> {
    return this.#step<Effect.Effect<void, NameTaken>>((before, _now, least) => {
      const free = freed(before, name, ({ data, id: holder }) => holder === id || takesNameOf?.(data) === true)
      if (free === undefined) return [Effect.fail(new NameTaken({ name })), before]
      const after = Roster.rename(Roster.raise(free, least), id, name)
      const member = Roster.byId(after, id)
      const rank = Roster.rankOf(after, id)
      if (rank !== undefined && member !== undefined) {
        announce(member, rank, after)
        this.#notify({ _tag: "Named", rank, member: { ...member, name } }, after)
      }
      return [Effect.void, after]
    }, known).pipe(Effect.flatten)
  }

  /** Makes the epoch larger than `known`, if it is not. No member moves, and observers see no change. */
  learn(known: number): Effect.Effect<void> {
    return this.#step((before, _now, least) => [undefined, Roster.raise(before, least)], known)
  }

  /**
   * Replaces the member's data. Its rank stays, and observers see no change. If it had to give up its `name` and no
   * other member has it, it gets it back. Undefined if there is no such member.
   */
  replace(
    id: number,
    data: A,
    announce: Announce<A> = noAnnounce,
    known?: number,
    name?: string
  ): Effect.Effect<Roster.Member<A> | undefined> {
    return this.#step((before, now) => {
      const replaced = Roster.replace(before, id, data, now)
      const isFree = name !== undefined && Roster.byName(replaced, name) === undefined
      const after = isFree ? Roster.rename(replaced, id, name) : replaced
      const member = Roster.byId(after, id)
      const rank = Roster.rankOf(after, id)
      if (rank !== undefined && member !== undefined) announce(member, rank, after)
      return [member, after]
    }, known)
  }

  /** Calls `observer` for every change from now on, until the scope closes. */
  observe(observer: Observer<A, Reason>): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => this.#observers.add(observer)),
      () => Effect.sync(() => this.#observers.delete(observer))
    ).pipe(Effect.asVoid)
  }

  #notify(change: Change<A, Reason>, roster: Roster.Roster<A>): void {
    for (const observer of this.#observers) observer(change, roster)
  }

  /**
   * One atomic step of a client that knows the epoch `known`. An epoch of at least `least` is above that; `now` is the
   * wall clock in microseconds, or `least` if that is later.
   */
  #step<B>(
    f: (roster: Roster.Roster<A>, now: number, least: number) => readonly [B, Roster.Roster<A>],
    known = 0
  ): Effect.Effect<B> {
    return Effect.flatMap(Clock.currentTimeMillis, (millis) => {
      const now = millis * 1000
      const least = Epoch.above(known, now)
      return SynchronizedRef.modify(this.ref, (roster) => f(roster, Math.max(now, least), least))
    })
  }

  #admit(data: A, { epoch, id: given, name, takesNameOf }: Identity<A>, announce: Announce<A>) {
    const { capacity, isPlaceholder, nextMemberId } = this.#options
    return this.#step<Effect.Effect<Roster.Member<A>, GroupFull | NameTaken>>((before, now) => {
      const rank = Roster.size(before)
      const first = Roster.at(before, 0)
      const placeholders = first !== undefined && isPlaceholder?.(first.data) ? 1 : 0
      if (rank - placeholders >= capacity) return [Effect.fail(new GroupFull({ capacity })), before]
      const free = name === undefined ? before : freed(before, name, ({ data }) => takesNameOf?.(data) === true)
      if (name !== undefined && free === undefined) return [Effect.fail(new NameTaken({ name })), before]
      const id = given ?? nextMemberId()
      const joined = Roster.join(free ?? before, id, data, now)
      const after = name === undefined ? joined : Roster.rename(joined, id, name)
      const member: Roster.Member<A> = { id, name, data }
      announce(member, rank, after)
      this.#notify({ _tag: "Joined", rank, member }, after)
      return [Effect.succeed(member), after]
    }, epoch).pipe(Effect.flatten)
  }

  /** A separate method, so that the finalizer keeps no variable of the admission in memory. */
  #leaving(id: number): (exit: Exit.Exit<unknown, unknown>) => Effect.Effect<void> {
    return (exit) => this.#leave(id, exit)
  }

  #leave(id: number, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return this.#step<void>((before, now) => {
      const rank = Roster.rankOf(before, id)
      const member = Roster.byId(before, id)
      if (rank === undefined || member === undefined) return [undefined, before]
      const after = Roster.leave(before, id, now)
      this.#notify({ _tag: "Left", rank, member, reason: this.#options.reasonOf(exit) }, after)
      return [undefined, after]
    })
  }
}
