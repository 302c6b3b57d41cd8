/**
 * Lines on their way to the socket. It owns their order and the back-pressure on callers that wait; it
 * knows neither what they mean nor which connection comes next.
 *
 * Invariants: lines reach the socket in the order in which they were added, each at most once. `sent` of
 * a line runs when the socket takes it, before the write: without that call the server has not seen the line.
 */
import { Effect, Latch, Queue } from "effect"
import type { Socket } from "effect/socket"
import { jsonCodec } from "../protocol/json/JsonCodec.ts"
import type { ClientMessage } from "../protocol/Messages.ts"

/** Characters that may wait; beyond them `room` makes callers wait. Enough for a burst, small beside the process. */
const MAX_PENDING = 1024 * 1024

/** The socket takes this many characters at a time, plus the rest of the last line. */
const MAX_WRITE = 65_536

interface Line {
  readonly text: string
  readonly sent: (() => void) | undefined
}

export class SendQueue {
  /** The lines for the connection; undefined while there is no connection. */
  #lines: Queue.Queue<Line> | undefined
  #pending = 0
  readonly #room = Latch.makeUnsafe(true)

  /** Succeeds when few enough lines wait, or the connection has ended. */
  readonly room: Effect.Effect<void> = this.#room.await

  /** Adds a message, if there is a connection. */
  add(message: ClientMessage, sent?: () => void): void {
    if (this.#lines === undefined) return
    const text = `${jsonCodec.encodeClient(message)}\n`
    this.#pending += text.length
    if (this.#pending > MAX_PENDING) this.#room.closeUnsafe()
    Queue.offerUnsafe(this.#lines, { text, sent })
  }

  /** Begins a connection: lines that are added from now on are for it. Succeeds with the effect that writes them. */
  readonly open = Effect.fnUntraced({ self: this }, function* (writer: Socket.Writer) {
    const lines = yield* Queue.unbounded<Line>()
    this.#lines = lines
    this.#pending = 0
    this.#room.openUnsafe()
    return Effect.forever(Effect.flatMap(Queue.takeAll(lines), (waiting) => this.#write(writer, waiting)))
  })

  /** Ends the connection: no line waits any more. */
  close(): void {
    this.#lines = undefined
    this.#room.openUnsafe()
  }

  readonly #write = Effect.fnUntraced({ self: this }, function* (writer: Socket.Writer, lines: ReadonlyArray<Line>) {
    for (let at = 0; at < lines.length; ) {
      let text = ""
      for (let line = lines[at]; line !== undefined && text.length < MAX_WRITE; line = lines[++at]) {
        line.sent?.()
        text += line.text
      }
      yield* writer.write(text)
      this.#pending -= text.length
      if (this.#pending <= MAX_PENDING) this.#room.openUnsafe()
    }
  })
}
