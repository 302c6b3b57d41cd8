/**
 * A connection of the simulation: the socket of a client, the server's `MemorySocket`, and what is on its way
 * between them. `step` delivers what is due. Each direction has faults of its own, and they last until `heal`.
 *
 * Invariant: as with TCP, each end gets the bytes of the other in order, and at most once; after the first that is
 * missing it gets none. It hears the end of the connection after the bytes before it, later, or never.
 */
import { Cause, Effect, Queue } from "effect"
import { Socket } from "effect/socket"
import type { MemorySocket } from "../support/MemorySocket.ts"

const closed = () => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

type Ending = "end" | "reset"

/** Bytes, or the end of the connection. */
interface Packet {
  readonly content: { readonly text: string } | Ending
  readonly at: number
}

/** One direction of a connection. */
class Way {
  #packets: Array<Packet> = []
  /** When the last packet arrives: none overtakes another. */
  #last = 0
  #isEnding = false
  isStalled = false
  /** Whether nothing arrives any more. */
  isLost = false
  /** Whether the end does not arrive. */
  endIsLost = false
  /** Whether what says why the connection ends does not arrive. */
  lastWordsAreLost = false
  delay: number

  constructor(delay: number) {
    this.delay = delay
  }

  /** When the next packet arrives; infinite if none will. */
  get due(): number {
    return this.isStalled ? Number.POSITIVE_INFINITY : (this.#packets[0]?.at ?? Number.POSITIVE_INFINITY)
  }

  add(content: Packet["content"], now: number): void {
    if (this.isLost || this.#isEnding) return
    if (typeof content === "string") {
      this.#isEnding = true
      if (this.endIsLost) return
    }
    // A reset does not wait for the bytes before it.
    if (content === "reset") this.#packets = []
    this.#last = Math.max(this.#last, now + this.delay)
    this.#packets.push({ content, at: this.#last })
  }

  take(now: number): Packet["content"] | undefined {
    return this.due <= now ? this.#packets.shift()?.content : undefined
  }
}

export type Direction = "up" | "down"

export class Line {
  readonly inbound = Effect.runSync(Queue.unbounded<Uint8Array, Socket.SocketError>())
  /** The server's end; undefined until the server accepts the connection. */
  #server: MemorySocket | undefined
  readonly #up: Way
  readonly #down: Way
  #reads = true
  /** Whether the client has closed its end, or knows that the connection has ended. */
  #clientIsOver = false
  #serverIsOver = false

  constructor(delay: number) {
    this.#up = new Way(delay)
    this.#down = new Way(delay)
  }

  get clientIsOver(): boolean {
    return this.#clientIsOver
  }

  get isOver(): boolean {
    return this.#clientIsOver && this.#serverIsOver
  }

  get isAccepted(): boolean {
    return this.#server !== undefined || this.#serverIsOver
  }

  /** When the next packet arrives at an end that runs. */
  due(clientRuns: boolean, serverRuns: boolean): number {
    const up = serverRuns && this.#server !== undefined && !this.#serverIsOver ? this.#up.due : Number.POSITIVE_INFINITY
    return clientRuns ? Math.min(up, this.#down.due) : up
  }

  accept(server: MemorySocket): void {
    this.#server = server
    server.reading = this.#reads
  }

  send(text: string, now: number): void {
    this.#up.add({ text }, now)
  }

  /** The client closes its end. */
  leave(now: number): void {
    this.#clientIsOver = true
    this.#up.add("end", now)
  }

  /** The process of the server has ended. */
  serverDies(now: number): void {
    this.#serverIsOver = true
    this.#down.add("reset", now)
  }

  /** Both ends hear of a reset. */
  reset(now: number): void {
    this.#up.add("reset", now)
    this.#down.add("reset", now)
  }

  /** The server hears of an end, and the client hears only what the server has sent until then. */
  halfClose(now: number): void {
    this.#up.add("end", now)
    this.silence()
  }

  /** The client hears nothing more. */
  silence(): void {
    this.#down.isLost = true
  }

  /** The client hears of an end; the server never does. */
  endForClient(now: number): void {
    this.#up.endIsLost = true
    this.#down.add("end", now)
  }

  /** The server hears of an end. */
  endForServer(now: number): void {
    this.#up.add("end", now)
  }

  /** The client never hears of the end of the connection, nor why it ends; it hears what was on its way before. */
  deafen(): void {
    this.#down.endIsLost = true
    this.loseLastWords()
  }

  /** The client never hears why the connection ends. */
  loseLastWords(): void {
    this.#down.lastWordsAreLost = true
  }

  stall(...directions: ReadonlyArray<Direction>): void {
    if (directions.includes("up")) this.#up.isStalled = true
    if (directions.includes("down")) this.#down.isStalled = true
  }

  /** From now on bytes are so many milliseconds late. */
  slow(millis: number): void {
    this.#up.delay = millis
    this.#down.delay = millis
  }

  /** The client does not take what the server sends. */
  stopReading(): void {
    this.#reads = false
    if (this.#server !== undefined) this.#server.reading = false
  }

  /** Passes on again what it has held. */
  heal(delay: number): void {
    this.slow(delay)
    this.#up.isStalled = false
    this.#down.isStalled = false
    this.#reads = true
    this.#server?.resume()
  }

  /** Delivers what is due. */
  step(now: number, clientRuns: boolean, serverRuns: boolean): void {
    const server = this.#server
    if (server !== undefined && !this.#serverIsOver) {
      if (serverRuns) this.#deliverUp(server, now)
      const lines = server.lines().filter((line) => !(this.#down.lastWordsAreLost && line.includes('"Bye"')))
      if (lines.length > 0) this.#down.add({ text: lines.map((line) => `${line}\n`).join("") }, now)
      if (server.destroyed || server.ended) {
        this.#serverIsOver = true
        this.#down.add("end", now)
      }
    }
    if (clientRuns) this.#deliverDown(now)
  }

  #deliverUp(server: MemorySocket, now: number): void {
    for (let content = this.#up.take(now); content !== undefined; content = this.#up.take(now)) {
      if (typeof content === "object") server.send(content.text)
      else if (content === "end") server.close()
      else server.reset()
    }
  }

  #deliverDown(now: number): void {
    for (let content = this.#down.take(now); content !== undefined; content = this.#down.take(now)) {
      if (this.#clientIsOver) continue
      if (typeof content === "object") Queue.offerUnsafe(this.inbound, Buffer.from(content.text))
      else {
        this.leave(now)
        Queue.failCauseUnsafe(this.inbound, Cause.fail(closed()))
      }
    }
  }
}
