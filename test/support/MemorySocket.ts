/**
 * An `effect/socket` `Socket` without a network: the test is the client at its
 * other end. It behaves like Node's: what is written is buffered, and a write
 * beyond `HIGH_WATER` waits until the client has read.
 */
import { Cause, Effect, Exit, Queue } from "effect"
import { Socket } from "effect/socket"

/** With so many unread bytes a write waits. */
export const HIGH_WATER = 16_384

const failed = (code: number) => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code }) })

export class MemorySocket {
  readonly socket: Socket.Socket
  /** Whether the client reads. */
  reading = true
  /** Whether the server has ended its side, or cut the connection. */
  ended = false
  destroyed = false
  #received = ""
  #unread: Array<Uint8Array | string> = []
  #unreadBytes = 0
  readonly #inbound: Queue.Queue<Uint8Array, Socket.SocketError>
  readonly #drains = new Set<(exit: Exit.Exit<void, Socket.SocketError>) => void>()

  readonly address: string

  /** The name in its certificate; undefined if it has none. */
  readonly certificateName: string | undefined

  /** Bytes from the client wake the server through the scheduler of the fiber that makes the socket. */
  static readonly make = (address: string, certificateName?: string): Effect.Effect<MemorySocket> =>
    Effect.map(
      Queue.unbounded<Uint8Array, Socket.SocketError>(),
      (inbound) => new MemorySocket(inbound, address, certificateName)
    )

  private constructor(
    inbound: Queue.Queue<Uint8Array, Socket.SocketError>,
    address: string,
    certificateName: string | undefined
  ) {
    this.#inbound = inbound
    this.address = address
    this.certificateName = certificateName
    const writeAll: Socket.Writer["writeAll"] = (chunks) =>
      Effect.suspend(() => {
        if (this.destroyed || this.ended) return Effect.fail(failed(1006))
        for (const chunk of chunks) {
          this.#unread.push(Uint8Array.from(Buffer.from(chunk as Uint8Array)))
          this.#unreadBytes += chunk.length
        }
        if (this.reading) this.#read()
        return this.#unreadBytes < HIGH_WATER
          ? Effect.void
          : Effect.callback((resume) => {
              const drained = (exit: Exit.Exit<void, Socket.SocketError>) => resume(exit)
              this.#drains.add(drained)
              return Effect.sync(() => this.#drains.delete(drained))
            })
      })
    this.socket = Socket.make({
      reader: Effect.acquireRelease(
        Effect.succeed({
          pull: Effect.map(Queue.takeAll(this.#inbound), (chunks) => chunks),
          upgrade: Socket.SocketUpgradeError.unsupported
        }),
        () => Effect.sync(() => this.#destroy(1006))
      ),
      writer: Effect.acquireRelease(
        Effect.succeed({
          writeAll,
          write: (chunk) =>
            Socket.isCloseEvent(chunk) ? Effect.sync(() => this.#destroy(chunk.code)) : writeAll([chunk])
        }),
        () =>
          Effect.sync(() => {
            this.ended = true
          })
      )
    })
  }

  get unread(): number {
    return this.#unreadBytes
  }

  /** The lines that the client received since the last call. */
  lines(): Array<string> {
    const end = this.#received.lastIndexOf("\n") + 1
    const lines = this.#received.slice(0, end)
    this.#received = this.#received.slice(end)
    return lines.split("\n").slice(0, -1)
  }

  send(bytes: string | Uint8Array): void {
    Queue.offerUnsafe(this.#inbound, typeof bytes === "string" ? Buffer.from(bytes) : bytes)
  }

  /** Ends the client's side. The client still receives what the server writes. */
  close(): void {
    Queue.failCauseUnsafe(this.#inbound, Cause.fail(failed(1000)))
  }

  /** The server's side of the socket breaks with a defect, as no socket may. */
  fail(defect: Error): void {
    Queue.failCauseUnsafe(this.#inbound, Cause.die(defect))
  }

  /** The server's side of the socket interrupts the session. */
  interrupt(): void {
    Queue.failCauseUnsafe(this.#inbound, Cause.interrupt())
  }

  reset(): void {
    this.#destroy(1006)
  }

  /** Reads everything that waits, and continues to read. */
  resume(): void {
    this.reading = true
    this.#read()
  }

  #read(): void {
    this.#received += Buffer.concat(this.#unread.map((chunk) => Buffer.from(chunk as Uint8Array))).toString()
    this.#unread = []
    this.#unreadBytes = 0
    this.#release(Exit.void)
  }

  #destroy(code: number): void {
    if (this.destroyed) return
    this.destroyed = true
    Queue.failCauseUnsafe(this.#inbound, Cause.fail(failed(code)))
    this.#release(Exit.fail(failed(code)))
  }

  #release(exit: Exit.Exit<void, Socket.SocketError>): void {
    for (const drained of [...this.#drains]) drained(exit)
  }
}
