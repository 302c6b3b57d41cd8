/**
 * One group's order as it is now: a roster in a `SynchronizedRef`, so that every
 * change is one atomic step, and observers that see the changes in the order in
 * which they happened.
 *
 * `join` is scoped: the seat is given up when the scope closes, whatever closed
 * it, so nothing can end a client without those behind it closing up.
 */

import { Clock, Effect, Schema, Scope, SynchronizedRef } from "effect"
import * as Roster from "./Roster.ts"

/** What happened to the order. Ranks are those right after the change; `Left.rank` the one given up. */
export type Change<A> =
  | { readonly _tag: "Joined"; readonly rank: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Left"; readonly rank: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Moved"; readonly from: number; readonly to: number; readonly member: Roster.Member<A> }
  | { readonly _tag: "Named"; readonly rank: number; readonly member: Roster.Member<A> }

/**
 * Called within the atomic step, so with every change exactly once and in order.
 * It must not fail, block or do I/O: it notes what is to be done.
 */
export type Observer<A> = (change: Change<A>, roster: Roster.Roster<A>) => void

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

/** Who a newcomer is already: its id, else it gets one, and its name, which must be free. */
export interface Identity {
  readonly id?: number | undefined
  readonly name?: string | undefined
}

export interface RankRef<A> {
  readonly ref: SynchronizedRef.SynchronizedRef<Roster.Roster<A>>
  /** The order at this moment. Later changes do not alter it. */
  readonly snapshot: () => Roster.Roster<A>
  /** Admits a member, last, until the scope closes. One that comes from another group brings its id. */
  readonly join: (data: A, as?: Identity) => Effect.Effect<Roster.Member<A>, GroupFull | NameTaken, Scope.Scope>
  /** Makes the member the last, as if it had just been admitted. */
  readonly stepDown: (id: number) => Effect.Effect<void>
  /** Has the member known as `name`, which is free again when it leaves or takes another. */
  readonly rename: (id: number, name: string) => Effect.Effect<void, NameTaken>
  /** Has the member be made of `data` from now on, where it stands; as it is then. Nobody is shown that. */
  readonly replace: (id: number, data: A) => Effect.Effect<Roster.Member<A> | undefined>
  /** Shows `observer` every change from now on, until the scope closes. */
  readonly observe: (observer: Observer<A>) => Effect.Effect<void, never, Scope.Scope>
}

export const make = <A>(options: {
  /** Members that the group holds at most. */
  readonly capacity: number
  /** Gives an id that was never given before. */
  readonly nextMemberId: () => number
  /** The epochs of this group are larger. */
  readonly epoch: number
}): RankRef<A> => {
  const { capacity, epoch, nextMemberId } = options
  const ref = SynchronizedRef.makeUnsafe<Roster.Roster<A>>({ ...Roster.empty, epoch })
  const observers = new Set<Observer<A>>()

  const notify = (change: Change<A>, roster: Roster.Roster<A>) => {
    for (const observer of observers) observer(change, roster)
  }

  /** One atomic step, given the time in microseconds. */
  const step = <B>(f: (roster: Roster.Roster<A>, now: number) => readonly [B, Roster.Roster<A>]): Effect.Effect<B> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => SynchronizedRef.modify(ref, (roster) => f(roster, now * 1000)))

  const admit = (data: A, as: Identity) =>
    step<Effect.Effect<Roster.Member<A>, GroupFull | NameTaken>>((before, now) => {
      const rank = Roster.size(before)
      const { name } = as
      if (rank >= capacity) return [Effect.fail(new GroupFull({ capacity })), before]
      if (name !== undefined && Roster.byName(before, name) !== undefined) {
        return [Effect.fail(new NameTaken({ name })), before]
      }
      const id = as.id ?? nextMemberId()
      const joined = Roster.join(before, id, data, now)
      const after = name === undefined ? joined : Roster.rename(joined, id, name)
      const member: Roster.Member<A> = { id, name, data }
      notify({ _tag: "Joined", rank, member }, after)
      if (name !== undefined) notify({ _tag: "Named", rank, member }, after)
      return [Effect.succeed(member), after]
    }).pipe(Effect.flatten)

  const leave = (id: number) =>
    step<void>((before, now) => {
      const rank = Roster.rankOf(before, id)
      const member = Roster.byId(before, id)
      if (rank === undefined || member === undefined) return [undefined, before]
      const after = Roster.leave(before, id, now)
      notify({ _tag: "Left", rank, member }, after)
      return [undefined, after]
    })

  return {
    ref,
    snapshot: () => SynchronizedRef.getUnsafe(ref),
    // Not `acquireRelease`: with every member it would keep the whole context that it was admitted in.
    join: (data, as = {}) =>
      Effect.flatMap(Effect.scope, (scope) =>
        Effect.uninterruptible(
          Effect.tap(admit(data, as), ({ id }) =>
            Scope.addFinalizer(
              scope,
              Effect.suspend(() => leave(id))
            )
          )
        )
      ),
    stepDown: (id) =>
      step<void>((before, now) => {
        const from = Roster.rankOf(before, id)
        const member = Roster.byId(before, id)
        if (from === undefined || member === undefined) return [undefined, before]
        const after = Roster.stepDown(before, id, now)
        notify({ _tag: "Moved", from, to: Roster.size(after) - 1, member }, after)
        return [undefined, after]
      }),
    rename: (id, name) =>
      step<Effect.Effect<void, NameTaken>>((before) => {
        const holder = Roster.byName(before, name)
        if (holder !== undefined && holder.id !== id) return [Effect.fail(new NameTaken({ name })), before]
        const after = Roster.rename(before, id, name)
        const member = Roster.byId(after, id)
        const rank = Roster.rankOf(after, id)
        if (rank !== undefined && member !== undefined) notify({ _tag: "Named", rank, member }, after)
        return [Effect.void, after]
      }).pipe(Effect.flatten),
    replace: (id, data) =>
      step((before, now) => {
        const after = Roster.replace(before, id, data, now)
        return [Roster.byId(after, id), after]
      }),
    observe: (observer) =>
      Effect.acquireRelease(
        Effect.sync(() => observers.add(observer)),
        () => Effect.sync(() => observers.delete(observer))
      ).pipe(Effect.asVoid)
  }
}
