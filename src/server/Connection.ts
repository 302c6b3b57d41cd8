/**
 * One client's bytes: what it says, what waits to be said to it, and the end of
 * both. Closing is in order, so that the last words arrive: what waits is
 * written, our side is ended, and what the client still sends is read and thrown
 * away (closing a TCP connection with unread bytes resets it, and a reset
 * overtakes the last words), until it closes too or is silent. All that for
 * `linger` at most; then it is cut off.
 */
import type { Array as Arr, Scope } from "effect"
import { Clock, Effect, Exit, Scope as ScopeModule } from "effect"
import { Socket } from "effect/socket"
import { Outbox, type OutboxOptions } from "./Outbox.ts"
import { Peer } from "./Peer.ts"
import type { SettingsValues } from "./Settings.ts"

export interface Connection {
  readonly address: string
  /** The next bytes; fails when the connection has ended. */
  readonly pull: Effect.Effect<Arr.NonEmptyReadonlyArray<Uint8Array>, Socket.SocketError>
  readonly outbox: Outbox
  /** The line that the closing begins with. */
  lastWords: string | undefined
  /** Whether to cut the client off at once instead. */
  abrupt: boolean
}

/** A client that was told everything, and says nothing for so long, has nothing under way that would reset it. */
const SILENCE = "500 millis"

/** How often it is looked whether the transport has sent everything. */
const POLL_UNSENT = "5 millis"

export const make = Effect.fnUntraced(function* (
  socket: Socket.Socket,
  options: Pick<OutboxOptions, "touched" | "fork" | "onSlow"> & { readonly settings: SettingsValues }
): Effect.fn.Return<Connection, Socket.SocketError, Scope.Scope> {
  const pull = yield* Socket.readerBytes(socket)
  const writing = yield* ScopeModule.make()
  const writer = yield* ScopeModule.provide(socket.writer, writing)
  const { address, direct, unsent } = yield* yield* Peer
  const { maxPending, maxHold, stallTimeout, linger } = options.settings
  const clock = yield* Clock.Clock
  const outbox = new Outbox({
    writer,
    direct,
    touched: options.touched,
    maxPending,
    maxHold,
    stallTimeout,
    now: () => clock.currentTimeMillisUnsafe(),
    fork: options.fork,
    onSlow: options.onSlow
  })
  const connection: Connection = { address, pull, outbox, lastWords: undefined, abrupt: false }

  const sent = Effect.suspend(
    (): Effect.Effect<void> => (unsent() === 0 ? Effect.void : Effect.flatMap(Effect.sleep(POLL_UNSENT), () => sent))
  )
  const endInOrder = Effect.suspend(() => outbox.finish(connection.lastWords)).pipe(
    Effect.andThen(ScopeModule.close(writing, Exit.void)),
    Effect.andThen(sent),
    Effect.andThen(Effect.ignore(Effect.forever(Effect.timeout(pull, SILENCE)))),
    Effect.timeoutOption(linger)
  )
  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => (connection.abrupt ? Effect.void : endInOrder)).pipe(
      Effect.andThen(writer.write(new Socket.CloseEvent(1000))),
      Effect.ignore
    )
  )
  return connection
})
