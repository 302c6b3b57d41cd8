/** A transport in memory. A test decides whether it accepts a write at once. */
import { Effect } from "effect"
import { Socket } from "effect/socket"
import type { Transport } from "../../../src/net/Transport.ts"

export const memoryTransport = () => {
  const written: Array<string> = []
  let accepts = true
  let gone = false
  let settle: ((exit: Effect.Effect<void, Socket.SocketError>) => void) | undefined
  const fail = () => {
    settleWith(Effect.fail(new Socket.SocketError({ reason: new Socket.SocketCloseError({ code: 1006 }) })))
  }
  const settleWith = (exit: Effect.Effect<void, Socket.SocketError>) => {
    const waiting = settle
    settle = undefined
    waiting?.(exit)
    return waiting !== undefined
  }
  const transport: Transport = {
    address: "unknown",
    write: (chunks) => {
      for (const chunk of chunks) written.push(Buffer.from(chunk).toString())
      return accepts
    },
    drained: Effect.callback((resume) => {
      settle = resume
    }),
    gone: () => gone,
    unsent: () => 0,
    end: () => {},
    cut: () => {}
  }
  return {
    transport,
    written,
    /** Whether the next writes are accepted at once. */
    accept: (next: boolean) => {
      accepts = next
    },
    /** Accepts the write in flight; false if there is none. */
    drain: () => settleWith(Effect.void),
    /** Fails the write in flight, as if the connection were closed. Like some transports, it does not say that it is `gone`. */
    fail,
    close: () => {
      gone = true
      fail()
    }
  }
}
