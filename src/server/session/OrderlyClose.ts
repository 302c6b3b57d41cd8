/**
 * Closes a connection so that the last line arrives. It writes the waiting bytes, ends the
 * server's side, and then reads and discards what the client still sends, until the client
 * closes or is silent. Without that, unread bytes would reset the TCP connection, and a reset
 * overtakes the last line. After `linger` the connection is cut.
 */
import type { Array as Arr } from "effect"
import { type Duration, Effect } from "effect"
import type { Socket } from "effect/socket"
import type { Transport } from "../../net/Transport.ts"
import type { Outbox } from "../outbound/Outbox.ts"

/** Reads the next batch of a client's bytes; fails when the connection has ended. */
export type Pull = Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError>

/** After everything was sent and the client was silent for so long, no bytes are under way that would reset the connection. */
const SILENCE = "500 millis"

/** How often to check whether the transport has sent everything. */
const POLL_UNSENT = "5 millis"

const sent = (transport: Transport): Effect.Effect<void> =>
  Effect.suspend(() =>
    transport.unsent() === 0 ? Effect.void : Effect.flatMap(Effect.sleep(POLL_UNSENT), () => sent(transport))
  )

/** @param lastWords the last line for the client */
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
