/**
 * The open tracked commands. Invariant: a delivery ends exactly once, whatever happens in
 * whatever order. The target's result ends it, or the cause that prevents a result. The first
 * end counts; a later result is dropped and counted.
 *
 * A command costs no fiber and no timer: one sweep finds the commands that have timed out.
 * Here a rank is only a number to report.
 */
import { Duration, Effect, Latch, type Scope } from "effect"
import type { ClientMessage, ServerMessage, Status } from "../../protocol/Messages.ts"
import type { ResultScanner } from "../../protocol/text/ResultScanner.ts"
import type { Events } from "../events/Events.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import type { Peer } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import { Sweeper } from "../Sweeper.ts"
import { deadlineIn } from "../time.ts"
import { wakeLater } from "../wakeLater.ts"
import { Command, Delivery, type Issuer } from "./Command.ts"
import { DeliveryTable } from "./DeliveryTable.ts"

/** How often the sweep looks for commands that have timed out, in milliseconds. */
const SWEEP_INTERVAL = 100

/** The most outcomes in one event. A command whose issuer has left may have thousands. */
const OUTCOMES_PER_EVENT = 100

/** A target's report about its delivery. */
type Report = ClientMessage & { readonly _tag: "Output" | "Result" }

export interface TrackedCommandsOptions {
  readonly flushQueue: FlushQueue
  readonly events: Events
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
  /** After its issuer has left, a command lives for `commandTimeout` at most. */
  readonly settings: Pick<SettingsValues, "commandTimeout" | "maxLine" | "maxOpenTargets">
}

/** As much of `text` as fits in a line to the peer: escapes may make it longer than it was. */
const fitting = ({ codec }: Peer, text: string, maxLine: number, message: (text: string) => ServerMessage): string => {
  let part = text
  for (;;) {
    const size = Buffer.byteLength(codec.encodeServer(message(part))) + 1
    if (size <= maxLine || part === "") return part
    // Never keep half of a surrogate pair.
    part = part.slice(0, Math.floor(part.length * (maxLine / size))).replace(/[\ud800-\udbff]$/, "")
  }
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

export class TrackedCommands {
  readonly #options: TrackedCommandsOptions
  readonly #commandTimeout: number
  readonly #deliveries = new DeliveryTable()
  readonly #sweeper = new Sweeper()
  /** Opens when no command is open; undefined while no fiber waits for that. */
  #idle: Latch.Latch | undefined
  #lastDeliveryId = 0
  #late = 0
  /** The outcomes of commands whose issuers have left, until the next sweep. */
  readonly #orphaned = new Map<Command, Array<string>>()

  constructor(options: TrackedCommandsOptions) {
    this.#options = options
    this.#commandTimeout = Duration.toMillis(options.settings.commandTimeout)
  }

  /** Ends commands that time out, until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    Effect.andThen(
      Effect.addFinalizer(() => Effect.sync(() => this.#emitOrphaned())),
      this.#sweeper.run(
        Effect.andThen(
          deadlineIn(SWEEP_INTERVAL),
          Effect.sync(() => this.#sweep())
        )
      )
    )
  )

  /** Whether so many more deliveries may open. */
  hasRoomFor(targets: number): boolean {
    return this.#deliveries.size + targets <= this.#options.settings.maxOpenTargets
  }

  /**
   * Opens a command. The issuer must have no open command with this id. `timeout` is in
   * milliseconds. The caller adds all deliveries, at least one, before the first one ends.
   */
  open(issuer: Issuer, id: string, several: boolean, timeout: number, targets: number): Command {
    const command = new Command(issuer, id, several, this.#options.now() + timeout)
    issuer.open.set(id, command)
    this.#options.events.commandOpened(command.issuedBy, id, targets)
    return command
  }

  add(command: Command, rank: number, target: Peer): Delivery {
    const delivery = new Delivery(++this.#lastDeliveryId, command, rank, target, this)
    this.#deliveries.add(delivery)
    command.add(delivery)
    if (this.#deliveries.size === 1) this.#sweeper.wake()
    return delivery
  }

  /** Ends the delivery and sends the outcome to the issuer, unless the delivery has already ended. */
  finish(delivery: Delivery, status: Status, more: { output?: string; truncated?: boolean } = {}): void {
    if (!this.#end(delivery, status)) return
    const { command, rank } = delivery
    const { id, issuer } = command
    if (issuer === undefined) return
    issuer.peer.send({ _tag: "Result", id, rank, status, ...more })
    this.#closeIfDone(command, issuer)
  }

  /**
   * Passes a target's report on to the issuer, cut to the length of a line if necessary. It
   * drops a report that belongs to no open delivery of this peer. If the issuer is congested,
   * it does nothing and returns the issuer's outbox: repeat the report when that is writable.
   */
  report(peer: Peer, message: Report): Outbox | undefined {
    // `01` is not the id `1`.
    const number = Number(message.id)
    const delivery = `${number}` === message.id ? this.#deliveries.get(number) : undefined
    if (delivery?.target !== peer) return this.#drop()
    const { command, rank } = delivery
    const { id, issuer } = command
    const to = issuer?.peer
    if (to?.outbox.congested) return to.outbox
    const { maxLine } = this.#options.settings
    if (message._tag === "Output") {
      const output = (text: string) => ({ _tag: "Output", id, rank, text }) as const
      to?.send(output(fitting(to, message.text, maxLine, output)))
      return undefined
    }
    const { output, status, truncated } = message
    const result = (output: string) => ({ _tag: "Result", id, rank, status, output, truncated: true }) as const
    const text = to === undefined || output === undefined ? output : fitting(to, output, maxLine, result)
    this.finish(delivery, status, {
      ...(text === undefined ? {} : { output: text }),
      ...(text !== output ? { truncated: true } : truncated === undefined ? {} : { truncated })
    })
    return undefined
  }

  /** The same for a scanned `RESULT#` whose line ends at `lineEnd`: hundreds of thousands may come in a second. */
  reportResult(
    peer: Peer,
    { id: number, output, status }: ResultScanner,
    bytes: Uint8Array,
    lineEnd: number
  ): Outbox | undefined {
    const delivery = this.#deliveries.get(number)
    if (delivery?.target !== peer) return this.#drop()
    const { command, rank } = delivery
    const { id, issuer } = command
    const line = issuer?.peer.codec.result(id, rank, status, bytes, output, lineEnd)
    if (issuer === undefined || line === undefined || line.length > this.#options.settings.maxLine) {
      const text = output < lineEnd ? { output: utf8.decode(bytes.subarray(output, lineEnd)) } : {}
      return this.report(peer, { _tag: "Result", id: `${number}`, status, ...text })
    }
    const { outbox } = issuer.peer
    if (outbox.congested) return outbox
    if (!this.#end(delivery, status)) return undefined
    outbox.appendLineOf(line)
    this.#closeIfDone(command, issuer)
    return undefined
  }

  /** Withdraws a command. The issuer gets the outcomes as fast as it reads them. */
  cancel(command: Command): void {
    this.#stop(command, "cancelled")
  }

  /** The issuer's open commands continue without it, for `commandTimeout` at most. */
  orphan(issuer: Issuer): void {
    this.#limit(issuer)
    for (const command of issuer.open.values()) command.issuer = undefined
    issuer.open.clear()
  }

  /** Succeeds when the issuer, which can send nothing more, has all outcomes: in `commandTimeout` at most. */
  settled(issuer: Issuer): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#limit(issuer)
      issuer.idle = Latch.makeUnsafe(issuer.open.size === 0)
      return issuer.idle.await
    })
  }

  /** Succeeds when no command is open. */
  readonly idle: Effect.Effect<void> = Effect.suspend(() => {
    if (this.#deliveries.size === 0) return Effect.void
    this.#idle ??= Latch.makeUnsafe(false)
    return this.#idle.await
  })

  /** Ends the delivery; false if it had already ended. */
  #end(delivery: Delivery, status: Status): boolean {
    if (delivery.ended) return false
    delivery.ended = true
    this.#deliveries.delete(delivery)
    const { command, target } = delivery
    command.open--
    if (status === 0) command.ok++
    else command.notOk++
    const idle = this.#idle
    if (idle !== undefined && this.#deliveries.size === 0) wakeLater(() => idle.openUnsafe())
    this.#options.events.deliveryEnded(command.issuer?.peer.member, command.id, target.member, status)
    if (command.issuer === undefined) this.#note(command, `${target.member}=${status}`)
    return true
  }

  #closeIfDone(command: Command, issuer: Issuer): void {
    if (command.open > 0) return
    const { id, notOk, ok, several } = command
    if (several) issuer.peer.send({ _tag: "Done", id, ok, notOk })
    issuer.open.delete(id)
    const { idle } = issuer
    if (idle !== undefined && issuer.open.size === 0) wakeLater(() => idle.openUnsafe())
  }

  #limit(issuer: Issuer): void {
    const latest = this.#options.now() + this.#commandTimeout
    for (const command of issuer.open.values()) command.deadline = Math.min(command.deadline, latest)
  }

  #note(command: Command, outcome: string): void {
    const outcomes = this.#orphaned.get(command)
    if (outcomes === undefined) this.#orphaned.set(command, [outcome])
    else outcomes.push(outcome)
  }

  #drop(): undefined {
    this.#late++
    // The next sweep emits the event.
    this.#sweeper.wake()
  }

  /**
   * Ends the open deliveries of a command and tells their targets to stop. It pauses when the
   * issuer is congested, and the next sweep continues.
   */
  #stop(command: Command, status: "cancelled" | "timeout"): void {
    command.stopped ??= status
    for (; command.next < command.deliveries.length; command.next++) {
      const delivery = command.deliveries[command.next]
      if (delivery === undefined || delivery.ended) continue
      if (command.issuer?.peer.outbox.congested) return
      if (delivery.sent) delivery.target.send({ _tag: "Cancel", id: `${delivery.id}` })
      this.finish(delivery, command.stopped)
    }
  }

  #sweep(): void {
    const now = this.#options.now()
    for (const { command } of this.#deliveries.list()) {
      if (command.deadline > now && command.stopped === undefined) continue
      this.#stop(command, "timeout")
      this.#options.flushQueue.flush()
    }
    this.#emitOrphaned()
    if (this.#deliveries.size === 0) this.#sweeper.rest()
  }

  #emitOrphaned(): void {
    const { events } = this.#options
    for (const [{ id, issuedBy }, outcomes] of this.#orphaned) {
      for (let from = 0; from < outcomes.length; from += OUTCOMES_PER_EVENT) {
        events.endedWithoutIssuer(issuedBy, id, outcomes.slice(from, from + OUTCOMES_PER_EVENT))
      }
    }
    this.#orphaned.clear()
    if (this.#late > 0) events.lateResults(this.#late)
    this.#late = 0
  }
}
