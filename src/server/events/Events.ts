/**
 * The seam between the server and whatever watches it: logs, audit, metrics, the
 * admin stream. An observer is called synchronously, with primitive arguments, in
 * the order in which things happen, and never concurrently. So it must be quick, and must
 * not call the server back. One that throws is called no more: nothing that an observer
 * does keeps the server from its work. Where nobody listens, an event costs an addition to
 * `Stats` and an empty loop.
 *
 * Members are ids (`m7`), connections their addresses.
 */
import { Effect, type Scope } from "effect"
import type { AuthFailure, CloseCause, RefusalCause, SlowConsumerCause } from "./CloseCause.ts"
import { count, Stats } from "./Stats.ts"

/** What happened. Every method is optional: an observer has those it cares for. */
export interface Observer {
  readonly opened?: (address: string) => void
  /** The last event of a connection. */
  readonly closed?: (address: string, cause: CloseCause) => void
  /** The client never had a seat, and the connection is closed. `reason` is the client's; `detail` is for operators. */
  readonly refused?: (address: string, cause: RefusalCause, reason: string, detail: string | undefined) => void
  readonly authFailed?: (address: string, cause: AuthFailure) => void
  /** The member is in this group now. If it was in another, `left` follows, as `joined another group`. */
  readonly joined?: (member: string, name: string | undefined, group: string, address: string) => void
  /** The member's connection is lost; its seat is reserved. */
  readonly lost?: (member: string, name: string | undefined, group: string, address: string, cause: CloseCause) => void
  readonly resumed?: (member: string, name: string | undefined, group: string, address: string) => void
  /** The member is not in this group any more. `reason` is the one that watchers get. */
  readonly left?: (member: string, name: string | undefined, group: string, address: string, reason: string) => void
  /** The member stepped down, from one rank to another. */
  readonly moved?: (member: string, name: string | undefined, group: string, from: number, to: number) => void
  readonly named?: (member: string, name: string, group: string) => void
  /** The group has another member at rank 0, under this epoch, from now on. */
  readonly leaderChanged?: (member: string, name: string | undefined, group: string, epoch: number) => void
  readonly rejected?: (address: string, member: string | undefined, reason: string) => void
  readonly slowConsumer?: (address: string, member: string | undefined, cause: SlowConsumerCause) => void
  /** A tracked command, by its issuer's id for it. */
  readonly commandOpened?: (issuer: string, id: string, targets: number) => void
  /** It ended at one target. `issuer` is undefined where the issuer has left: it gets no outcome. */
  readonly deliveryEnded?: (issuer: string | undefined, id: string, target: string, status: number | string) => void
  /** Outcomes of one command whose issuer has left, as `m2=7`. */
  readonly endedWithoutIssuer?: (issuer: string, id: string, outcomes: ReadonlyArray<string>) => void
  /** So many results came for commands that had ended. */
  readonly lateResults?: (results: number) => void
  /** An observer has thrown, and is called no more. */
  readonly observerFailed?: (event: string, error: unknown) => void
}

/** Every event: a method of an observer may be its own or its class's. */
const names: { readonly [name in keyof Required<Observer>]: true } = {
  opened: true,
  closed: true,
  refused: true,
  authFailed: true,
  joined: true,
  lost: true,
  resumed: true,
  left: true,
  moved: true,
  named: true,
  leaderChanged: true,
  rejected: true,
  slowConsumer: true,
  commandOpened: true,
  deliveryEnded: true,
  endedWithoutIssuer: true,
  lateResults: true,
  observerFailed: true
}

/** The observer, with each of its methods calling `failed` in place of throwing. */
const guarded = (observer: Observer, failed: (event: string, error: unknown) => void): Observer => {
  const methods = (Object.keys(names) as ReadonlyArray<keyof Observer>).flatMap((name) => {
    const method = observer[name] as ((...values: ReadonlyArray<unknown>) => void) | undefined
    if (method === undefined) return []
    const call = (...values: ReadonlyArray<unknown>) => {
      try {
        method.apply(observer, [...values])
      } catch (error) {
        failed(name, error)
      }
    }
    return [[name, call] as const]
  })
  return Object.fromEntries(methods)
}

export class Events {
  readonly stats = new Stats()
  #observers: ReadonlyArray<Observer> = []

  /** Calls the observer from now on, until the scope closes. */
  observe(observer: Observer): Effect.Effect<void, never, Scope.Scope> {
    const drop = () => {
      this.#observers = this.#observers.filter((other) => other !== safe)
    }
    const safe = guarded(observer, (event, error) => {
      drop()
      for (const other of this.#observers) other.observerFailed?.(event, error)
    })
    const add = Effect.sync(() => {
      this.#observers = [...this.#observers, safe]
    })
    return Effect.asVoid(Effect.acquireRelease(add, () => Effect.sync(drop)))
  }

  opened(address: string): void {
    this.stats.connectionsOpened++
    for (const observer of this.#observers) observer.opened?.(address)
  }

  closed(address: string, cause: CloseCause): void {
    this.stats.connectionsClosed++
    for (const observer of this.#observers) observer.closed?.(address, cause)
  }

  refused(address: string, cause: RefusalCause, reason: string, detail: string | undefined): void {
    count(this.stats.refusals, cause)
    for (const observer of this.#observers) observer.refused?.(address, cause, reason, detail)
  }

  authFailed(address: string, cause: AuthFailure): void {
    for (const observer of this.#observers) observer.authFailed?.(address, cause)
  }

  joined(member: string, name: string | undefined, group: string, address: string): void {
    this.stats.admissions++
    for (const observer of this.#observers) observer.joined?.(member, name, group, address)
  }

  lost(member: string, name: string | undefined, group: string, address: string, cause: CloseCause): void {
    for (const observer of this.#observers) observer.lost?.(member, name, group, address, cause)
  }

  resumed(member: string, name: string | undefined, group: string, address: string): void {
    this.stats.resumptions++
    for (const observer of this.#observers) observer.resumed?.(member, name, group, address)
  }

  left(member: string, name: string | undefined, group: string, address: string, reason: string): void {
    count(this.stats.departures, reason)
    for (const observer of this.#observers) observer.left?.(member, name, group, address, reason)
  }

  moved(member: string, name: string | undefined, group: string, from: number, to: number): void {
    for (const observer of this.#observers) observer.moved?.(member, name, group, from, to)
  }

  named(member: string, name: string, group: string): void {
    for (const observer of this.#observers) observer.named?.(member, name, group)
  }

  leaderChanged(member: string, name: string | undefined, group: string, epoch: number): void {
    for (const observer of this.#observers) observer.leaderChanged?.(member, name, group, epoch)
  }

  rejected(address: string, member: string | undefined, reason: string): void {
    count(this.stats.rejections, reason)
    for (const observer of this.#observers) observer.rejected?.(address, member, reason)
  }

  slowConsumer(address: string, member: string | undefined, cause: SlowConsumerCause): void {
    count(this.stats.slowConsumers, cause)
    for (const observer of this.#observers) observer.slowConsumer?.(address, member, cause)
  }

  commandOpened(issuer: string, id: string, targets: number): void {
    this.stats.trackedCommands++
    for (const observer of this.#observers) observer.commandOpened?.(issuer, id, targets)
  }

  deliveryEnded(issuer: string | undefined, id: string, target: string, status: number | string): void {
    count(this.stats.outcomes, typeof status === "string" ? status : status === 0 ? "ok" : "failed")
    for (const observer of this.#observers) observer.deliveryEnded?.(issuer, id, target, status)
  }

  endedWithoutIssuer(issuer: string, id: string, outcomes: ReadonlyArray<string>): void {
    for (const observer of this.#observers) observer.endedWithoutIssuer?.(issuer, id, outcomes)
  }

  lateResults(results: number): void {
    this.stats.lateResults += results
    for (const observer of this.#observers) observer.lateResults?.(results)
  }
}
