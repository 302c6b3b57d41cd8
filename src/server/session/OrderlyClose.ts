/**
 * The end of a connection, in order, so that the last words arrive. What waits is
 * written, our side is ended, and what the client still sends is read and discarded,
 * until it closes too or is silent: closing a TCP connection with unread bytes resets
 * it, and a reset overtakes the last words. After `linger` the connection is cut.
 */
import type { Array as Arr } from "effect"
import { type Duration, Effect } from "effect"
import type { Socket } from "effect/socket"
import type { Transport } from "../../net/Transport.ts"
import type { Outbox } from "../outbound/Outbox.ts"

/** The bytes of a client, batch by batch; fails when the connection has ended. */
export type Pull = Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError>

/** A client that has everything, and is silent for so long, has nothing under way that would reset the connection. */
const SILENCE = "500 millis"

/** How often to look whether the transport has sent everything. */
const POLL_UNSENT = "5 millis"

const sent = (transport: Transport): Effect.Effect<void> =>
  Effect.suspend(() =>
    transport.unsent() === 0 ? Effect.void : Effect.flatMap(Effect.sleep(POLL_UNSENT), () => sent(transport))
  )

/** @param lastWords the last line that the client gets */
export const closeInOrder = (
  transport: Transport,
  outbox: Outbox,
  pull: Pull,
  lastWords: string | undefined,
  linger: Duration.Duration
): Effect.Effect<void> =>
  outbox
    .finish(lastWords)
    .pipe(
      Effect.andThen(Effect.sync(() => transport.end())),
      Effect.andThen(sent(transport)),
      Effect.andThen(Effect.ignore(Effect.forever(Effect.timeout(pull, SILENCE)))),
      Effect.timeoutOption(linger),
      Effect.andThen(Effect.sync(() => transport.cut()))
    )
