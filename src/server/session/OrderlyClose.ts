/**
 * One client's bytes: what it says, what waits to be said to it, and the end of
 * both. Closing is in order, so that the last words arrive: what waits is
 * written, our side is ended, and what the client still sends is read and thrown
 * away (closing a TCP connection with unread bytes resets it, and a reset
 * overtakes the last words), until it closes too or is silent. All that for
 * `linger` at most; then it is cut off.
 */
import type { Array as Arr } from "effect"
import { type Duration, Effect } from "effect"
import type { Socket } from "effect/socket"
import type { Transport } from "../../net/Transport.ts"
import type { Outbox } from "../outbound/Outbox.ts"

/** A client that was told everything, and says nothing for so long, has nothing under way that would reset it. */
const SILENCE = "500 millis"

/** How often it is looked whether the transport has sent everything. */
const POLL_UNSENT = "5 millis"

export class Connection {
  /** The next bytes; fails when the connection has ended. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError>
  readonly outbox: Outbox
  readonly transport: Transport

  constructor(pull: Connection["pull"], outbox: Outbox, transport: Transport) {
    this.pull = pull
    this.outbox = outbox
    this.transport = transport
  }

  /** The line `lastWords` is the last that the client is told. */
  closeInOrder(lastWords: string | undefined, linger: Duration.Duration): Effect.Effect<void> {
    const transport = this.transport
    const sent = Effect.suspend(
      (): Effect.Effect<void> =>
        transport.unsent() === 0 ? Effect.void : Effect.flatMap(Effect.sleep(POLL_UNSENT), () => sent)
    )
    return this.outbox
      .finish(lastWords)
      .pipe(
        Effect.andThen(Effect.sync(() => transport.end())),
        Effect.andThen(sent),
        Effect.andThen(Effect.ignore(Effect.forever(Effect.timeout(this.pull, SILENCE)))),
        Effect.timeoutOption(linger),
        Effect.andThen(this.cut)
      )
  }

  get cut(): Effect.Effect<void> {
    return Effect.sync(() => this.transport.cut())
  }
}
