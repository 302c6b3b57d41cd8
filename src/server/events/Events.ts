/**
 * The seam between the server and its observers: logs, audit, metrics, the admin stream.
 * The server calls an observer synchronously, with primitive arguments, in the order in
 * which things happen, and never concurrently. So an observer must be quick, and must not
 * call the server. The server drops an observer that throws, and continues. Without observers
 * an event costs an addition to `Stats` and an empty loop.
 *
 * A member is its id (`m7`), a connection its address and port.
 */
import { Effect, type Scope } from "effect"
import type { AuthFailure, CloseCause, OtherProtocolCause, RefusalCause, SlowConsumerCause } from "./CloseCause.ts"
import { count, Stats } from "./Stats.ts"

/** Receives the events of a server. Every method is optional: an observer implements those that it needs. */
export interface Observer {
  readonly opened?: (address: string) => void
  /** The last event of a connection. After an `internal error`, `detail` is the defect of the server. */
  readonly closed?: (address: string, cause: CloseCause, detail: string | undefined) => void
  /** The client never had a seat, and the server closes the connection. The client gets `reason`; `detail` is for operators. */
  readonly refused?: (address: string, cause: RefusalCause, reason: string, detail: string | undefined) => void
  /** The server did not accept the token of a client, which gets its answer after a delay. */
  readonly authFailed?: (address: string, cause: AuthFailure) => void
  /** The member joined this group. If it was in another group, `left` follows with the reason `joined another group`. */
  readonly joined?: (member: string, name: string | undefined, group: string, address: string) => void
  /** The member lost its connection, and the server reserves its seat. */
  readonly lost?: (member: string, name: string | undefined, group: string, address: string, cause: CloseCause) => void
  /** The member came back to its reserved seat, from this address. */
  readonly resumed?: (member: string, name: string | undefined, group: string, address: string) => void
  /** The member left this group. Watchers get `reason`. */
  readonly left?: (member: string, name: string | undefined, group: string, address: string, reason: string) => void
  /** The member stepped down from one rank to another. */
  readonly moved?: (member: string, name: string | undefined, group: string, from: number, to: number) => void
  /** The member has a new name. */
  readonly named?: (member: string, name: string, group: string) => void
  /** Another member of the group has rank 0 now, under this epoch. */
  readonly leaderChanged?: (member: string, name: string | undefined, group: string, epoch: number) => void
  /** The client got an `ERROR` with this reason. `member` is undefined if it never had a seat. */
  readonly rejected?: (address: string, member: string | undefined, reason: string) => void
  /** The server disconnects a client that reads too slowly. */
  readonly slowConsumer?: (address: string, member: string | undefined, cause: SlowConsumerCause) => void
  /** The server cuts off a client that speaks another protocol. `member` is undefined if it has no seat. */
  readonly otherProtocol?: (address: string, member: string | undefined, cause: OtherProtocolCause) => void
  /** A tracked command was routed to so many targets. `id` is the issuer's. */
  readonly commandOpened?: (issuer: string, id: string, targets: number) => void
  /** A tracked command ended at one target. `issuer` is undefined if the issuer has left and gets no outcome. */
  readonly deliveryEnded?: (issuer: string | undefined, id: string, target: string, status: number | string) => void
  /** Outcomes of a command whose issuer has left, each in the form `m2=7`. */
  readonly endedWithoutIssuer?: (issuer: string, id: string, outcomes: ReadonlyArray<string>) => void
  /** The server dropped so many results of commands that had already ended. */
  readonly lateResults?: (results: number) => void
  /** An observer threw an error in this event, and the server dropped the observer. */
  readonly observerFailed?: (event: string, error: unknown) => void
}

/** All events. An observer may be an instance of a class, so its own keys are not enough. */
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
  otherProtocol: true,
  commandOpened: true,
  deliveryEnded: true,
  endedWithoutIssuer: true,
  lateResults: true,
  observerFailed: true
}

/** The observer with methods that call `failed` instead of throwing. */
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

/** The events of one server. The server emits them; `observe` adds an observer, and `stats` has the counters. */
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

  closed(address: string, cause: CloseCause, detail?: string): void {
    this.stats.connectionsClosed++
    for (const observer of this.#observers) observer.closed?.(address, cause, detail)
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

  otherProtocol(address: string, member: string | undefined, cause: OtherProtocolCause): void {
    count(this.stats.otherProtocols, cause)
    for (const observer of this.#observers) observer.otherProtocol?.(address, member, cause)
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
