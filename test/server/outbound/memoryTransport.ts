/** A transport that keeps what is written to it, and accepts it at once or not, as a test likes. */
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
    /** Accepts what is in flight; whether there was anything. */
    drain: () => settleWith(Effect.void),
    /** Fails what is in flight, as for a connection that is closed. Not every transport tells that it is gone. */
    fail,
    close: () => {
      gone = true
      fail()
    }
  }
}
