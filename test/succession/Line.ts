/**
 * A connection of the simulation: the socket of a client, the server's `MemorySocket`, and what is on its way
 * between them. Its faults last; `step` moves the bytes that are due.
 */
import { Cause, Effect, Queue } from "effect"
import { Socket } from "effect/socket"
import type { MemorySocket } from "../support/MemorySocket.ts"

const closed = () => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

interface Packet {
  readonly text: string
  readonly at: number
}

/** What may be wrong with one direction: it passes on nothing for a while, or its other end has gone. */
type Direction = "up" | "down"

export class Line {
  readonly inbound = Effect.runSync(Queue.unbounded<Uint8Array, Socket.SocketError>())
  readonly #server: MemorySocket
  readonly #packets: { readonly [direction in Direction]: Array<Packet> } = { up: [], down: [] }
  readonly #stalled = new Set<Direction>()
  /** Whether the client has ended its side, or has been reset. */
  clientGone = false
  /** Whether the server has heard of the end, or never will. */
  #serverGone = false
  /** Whether the client never hears anything more: a proxy between keeps its side open. */
  #silent = false
  /** Whether the client never hears that the server closes, nor why. */
  #deaf = false
  #delay = 0

  constructor(server: MemorySocket) {
    this.#server = server
  }

  get isOver(): boolean {
    return this.clientGone && this.#serverGone
  }

  send(text: string, now: number): void {
    this.#packets.up.push({ text, at: now + this.#delay })
  }

  stall(direction: Direction): void {
    this.#stalled.add(direction)
  }

  /** From now on bytes are so many milliseconds late. */
  slow(millis: number): void {
    this.#delay = millis
  }

  /** Passes on again what it has held. */
  heal(): void {
    this.#stalled.clear()
    this.#delay = 0
  }

  /** The client's end closes; the server hears of it later, unless the line is stalled. */
  leave(): void {
    this.clientGone = true
  }

  reset(): void {
    this.endClient()
    this.endServer()
  }

  /** The server hears of an end; the client does not. */
  halfClose(): void {
    this.#silent = true
    this.endServer()
  }

  /** The client never hears of the end of the connection; it hears what was on its way before. */
  deafen(): void {
    this.#deaf = true
  }

  endServer(): void {
    this.#serverGone = true
    this.#server.close()
  }

  endClient(): void {
    if (this.clientGone) return
    this.clientGone = true
    Queue.failCauseUnsafe(this.inbound, Cause.fail(closed()))
  }

  step(now: number, clientRuns: boolean, serverRuns: boolean): void {
    const { down, up } = this.#packets
    if (serverRuns && !this.#serverGone && !this.#stalled.has("up")) {
      while (up[0] !== undefined && up[0].at <= now) this.#server.send(up.shift()!.text)
      if (this.clientGone && up.length === 0) this.endServer()
    }
    const lines = this.#server.lines().filter((line) => !(this.#deaf && line.includes('"Bye"')))
    if (lines.length > 0) down.push({ text: lines.map((line) => `${line}\n`).join(""), at: now + this.#delay })
    if (this.#silent || this.clientGone || !clientRuns || this.#stalled.has("down")) return
    while (down[0] !== undefined && down[0].at <= now) Queue.offerUnsafe(this.inbound, Buffer.from(down.shift()!.text))
    if (!this.#deaf && down.length === 0 && (this.#server.destroyed || this.#server.ended)) this.endClient()
  }
}
