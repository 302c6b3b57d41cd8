/**
 * The order of one group: a roster in a `SynchronizedRef`. Every change is one
 * atomic step, and observers see the changes in the order in which they happen.
 *
 * `join` is scoped: the member leaves when the scope closes, whatever closed it. So
 * nothing can end a client without the members behind it moving up.
 */
import { Clock, Effect, type Exit, Schema, Scope, SynchronizedRef } from "effect"
import * as Roster from "./Roster.ts"

/** A change of the order. A newcomer may bring its name: it is `Joined` alone then. Ranks are those right after the change; `Left.rank` is the one given up. */
export type Change<A, Reason> =
  | { readonly _tag: "Joined"; readonly rank: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Left"; readonly rank: number; readonly member: Roster.Member<A>; readonly reason: Reason }
  | { readonly _tag: "Moved"; readonly from: number; readonly to: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Named"; readonly rank: number; readonly member: Roster.Member<A> & { readonly name: string } }

/**
 * Called within the atomic step, with every change exactly once and in order. It
 * must not fail, block or do I/O: it notes what is to be done.
 */
export type Observer<A, Reason> = (change: Change<A, Reason>, roster: Roster.Roster<A>) => void

/**
 * Called within the atomic step, before the observers: nobody can reach the member
 * at its new place before this has run.
 */
export type Announce<A> = (member: Roster.Member<A>, rank: number, roster: Roster.Roster<A>) => void

export class GroupFull extends Schema.TaggedError<GroupFull>()("GroupFull", { capacity: Schema.Int }) {
  override get message() {
    return `the group already has ${this.capacity} members`
  }
}

export class NameTaken extends Schema.TaggedError<NameTaken>()("NameTaken", { name: Schema.String }) {
  override get message() {
    return `another member is called ${this.name}`
  }
}

/** The id that a newcomer brings, else it gets one, and its name, which must be free. */
export interface Identity {
  readonly id?: number | undefined
  readonly name?: string | undefined
}

export interface RankRefOptions<Reason> {
  /** The most members that the group holds. */
  readonly capacity: number
  /** Returns an id that it never returned before. */
  readonly nextMemberId: () => number
  /** The epochs of this group are larger. */
  readonly epoch: number
  /** The reason of a departure, from how the member's scope closed. */
  readonly reasonOf: (exit: Exit.Exit<unknown, unknown>) => Reason
}

const nobody: Announce<unknown> = () => {}

export class RankRef<A, Reason> {
  readonly ref: SynchronizedRef.SynchronizedRef<Roster.Roster<A>>
  readonly #options: RankRefOptions<Reason>
  readonly #observers = new Set<Observer<A, Reason>>()

  constructor(options: RankRefOptions<Reason>) {
    this.#options = options
    this.ref = SynchronizedRef.makeUnsafe<Roster.Roster<A>>({ ...Roster.empty, epoch: options.epoch })
  }

  /** The order at this moment. Later changes do not alter it. */
  snapshot(): Roster.Roster<A> {
    return SynchronizedRef.getUnsafe(this.ref)
  }

  /** Admits a member, last, until the scope closes. A member that comes from another group brings its id. */
  join(
    data: A,
    as: Identity = {},
    announce: Announce<A> = nobody
  ): Effect.Effect<Roster.Member<A>, GroupFull | NameTaken, Scope.Scope> {
    // Not `acquireRelease`: it would keep the whole context of the admission alive with every member.
    return Effect.flatMap(Effect.scope, (scope) =>
      Effect.uninterruptible(
        Effect.tap(this.#admit(data, as, announce), ({ id }) => Scope.addFinalizerExit(scope, this.#leaving(id)))
      )
    )
  }

  /** Makes the member the last, as if it had just been admitted. */
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

  /** Gives the member this name; another that it had is free again. */
  rename(id: number, name: string, announce: Announce<A> = nobody): Effect.Effect<void, NameTaken> {
    return this.#step<Effect.Effect<void, NameTaken>>((before) => {
      const holder = Roster.byName(before, name)
      if (holder !== undefined && holder.id !== id) return [Effect.fail(new NameTaken({ name })), before]
      const after = Roster.rename(before, id, name)
      const member = Roster.byId(after, id)
      const rank = Roster.rankOf(after, id)
      if (rank !== undefined && member !== undefined) {
        announce(member, rank, after)
        this.#notify({ _tag: "Named", rank, member: { ...member, name } }, after)
      }
      return [Effect.void, after]
    }).pipe(Effect.flatten)
  }

  /** Puts `data` in the member's place. Observers see no change; undefined where there is no such member. */
  replace(id: number, data: A, announce: Announce<A> = nobody): Effect.Effect<Roster.Member<A> | undefined> {
    return this.#step((before, now) => {
      const after = Roster.replace(before, id, data, now)
      const member = Roster.byId(after, id)
      const rank = Roster.rankOf(after, id)
      if (rank !== undefined && member !== undefined) announce(member, rank, after)
      return [member, after]
    })
  }

  /** Shows `observer` every change from now on, until the scope closes. */
  observe(observer: Observer<A, Reason>): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => this.#observers.add(observer)),
      () => Effect.sync(() => this.#observers.delete(observer))
    ).pipe(Effect.asVoid)
  }

  #notify(change: Change<A, Reason>, roster: Roster.Roster<A>): void {
    for (const observer of this.#observers) observer(change, roster)
  }

  /** One atomic step, given the time in microseconds. */
  #step<B>(f: (roster: Roster.Roster<A>, now: number) => readonly [B, Roster.Roster<A>]): Effect.Effect<B> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      SynchronizedRef.modify(this.ref, (roster) => f(roster, now * 1000))
    )
  }

  #admit(data: A, { id: given, name }: Identity, announce: Announce<A>) {
    const { capacity, nextMemberId } = this.#options
    return this.#step<Effect.Effect<Roster.Member<A>, GroupFull | NameTaken>>((before, now) => {
      const rank = Roster.size(before)
      if (rank >= capacity) return [Effect.fail(new GroupFull({ capacity })), before]
      if (name !== undefined && Roster.byName(before, name) !== undefined) {
        return [Effect.fail(new NameTaken({ name })), before]
      }
      const id = given ?? nextMemberId()
      const joined = Roster.join(before, id, data, now)
      const after = name === undefined ? joined : Roster.rename(joined, id, name)
      const member: Roster.Member<A> = { id, name, data }
      announce(member, rank, after)
      this.#notify({ _tag: "Joined", rank, member }, after)
      return [Effect.succeed(member), after]
    }).pipe(Effect.flatten)
  }

  /** A function of its own: the member would else keep everything alive that it was admitted with. */
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
