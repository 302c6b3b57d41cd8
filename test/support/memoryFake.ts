/** `fakeServer` without a network: a `Socket` for the client, driven by `TestClock` alone. */
import { Cause, Effect, Queue } from "effect"
import { Socket } from "effect/socket"
import type { ServerMessage } from "../../src/protocol/Messages.ts"
import { type Said, welcome } from "./fakeServer.ts"

const closed = () => new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })

export class MemoryConnection {
  /** Every message of the client, in order. */
  readonly said: Array<Said> = []
  /** While false, each write of the client waits for ever, like one to a server that does not read. */
  isReading = true
  /** Whether the client has closed its side. */
  isClosed = false
  readonly inbound = Effect.runSync(Queue.unbounded<Uint8Array, Socket.SocketError>())
  #partial = ""

  say(...messages: ReadonlyArray<ServerMessage>): void {
    for (const message of messages) this.write(`${JSON.stringify(message)}\n`)
  }

  welcome(fields: Parameters<typeof welcome>[0] = {}): void {
    this.say(welcome(fields))
  }

  write(text: string): void {
    Queue.offerUnsafe(this.inbound, Buffer.from(text))
  }

  /** Closes the connection, after everything that was said. */
  cut(): void {
    Queue.failCauseUnsafe(this.inbound, Cause.fail(closed()))
  }

  /** The messages on these bytes of the client. */
  take(bytes: string): Array<Said> {
    const lines = (this.#partial + bytes).split("\n")
    this.#partial = lines.pop() ?? ""
    return lines.map((line): Said => JSON.parse(line))
  }

  /** How many messages with this tag the client has sent. */
  count(tag: string): number {
    return this.said.filter(({ _tag }) => _tag === tag).length
  }
}

export interface MemoryFake {
  readonly socket: Socket.Socket
  readonly connections: ReadonlyArray<MemoryConnection>
  /** The latest connection. */
  readonly latest: () => MemoryConnection
}

/** `hear` is called with each message of each connection, in order. */
export const memoryFake = (hear: (said: Said, connection: MemoryConnection) => void = () => {}): MemoryFake => {
  const connections: Array<MemoryConnection> = []
  const latest = () => {
    const connection = connections.at(-1)
    if (connection === undefined) throw new Error("no client has connected")
    return connection
  }
  const writeAll: Socket.Writer["writeAll"] = (chunks) =>
    Effect.suspend(() => {
      const connection = latest()
      if (connection.isClosed) return Effect.fail(closed())
      if (!connection.isReading) return Effect.never
      for (const said of connection.take(Buffer.concat(chunks.map((chunk) => Buffer.from(chunk))).toString())) {
        connection.said.push(said)
        hear(said, connection)
      }
      return Effect.void
    })
  const socket = Socket.make({
    reader: Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const connection = new MemoryConnection()
          connections.push(connection)
          return connection
        }),
        (connection) =>
          Effect.sync(() => {
            connection.isClosed = true
          })
      ),
      ({ inbound }) => ({ pull: Queue.takeAll(inbound), upgrade: Socket.SocketUpgradeError.unsupported })
    ),
    writer: Effect.succeed({
      writeAll,
      write: (chunk) => (Socket.isCloseEvent(chunk) ? Effect.sync(() => latest().cut()) : writeAll([chunk]))
    })
  })
  return { socket, connections, latest }
}

/** A socket whose connections all fail. */
export const nowhere: Socket.Socket = Socket.make({
  reader: Effect.fail(
    new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause: new Error("refused") }) })
  ),
  writer: Effect.never
})
