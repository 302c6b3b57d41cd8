/** A TCP proxy that delays, splits, stalls and resets what goes through it. */

import { createConnection, createServer, type Socket } from "node:net"
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises"
import { Effect } from "effect"

/** How the proxy treats all bytes from now on, in both directions. */
export interface Disturbance {
  /** By how many milliseconds bytes are late. */
  delay: number
  /** The most bytes that it passes on in one piece; 0: as many as there are. */
  split: number
  /** Whether it reads and passes on nothing. */
  stalled: boolean
}

export interface TestProxy extends Disturbance {
  readonly port: number
  /** Passes nothing more on over the present connections: to the server, to the client, or both. */
  readonly stall: (...directions: ReadonlyArray<"up" | "down">) => void
  /** Ends the present connections towards the server, and leaves them open towards the client. */
  readonly halfClose: () => void
  /** Takes no more connections. */
  readonly refuse: () => void
  /** Resets all connections. */
  readonly cut: () => void
  /** Cuts them, and takes no more. */
  readonly close: () => void
}

/** Waits until there is room, or the socket is closed. */
const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const settle = () => {
      socket.off("drain", settle).off("close", settle)
      resolve()
    }
    if (socket.destroyed) resolve()
    else socket.on("drain", settle).on("close", settle)
  })

/** One direction of a connection. */
interface Pipe {
  readonly direction: "up" | "down"
  stalled: boolean
}

/** Passes on the bytes of `from`, and its end. */
const relay = async (from: Socket, to: Socket, disturbance: Disturbance, pipe: Pipe): Promise<void> => {
  for await (const bytes of from as AsyncIterable<Buffer>) {
    if (disturbance.delay > 0) await sleep(disturbance.delay)
    while ((disturbance.stalled || pipe.stalled) && !to.destroyed) await sleep(5)
    for (let at = 0; at < bytes.length && !to.destroyed; ) {
      const length = disturbance.split || bytes.length
      if (!to.write(bytes.subarray(at, at + length))) await drained(to)
      at += length
      // A piece a turn is a segment of its own; more often than not.
      if (at < bytes.length) await turn()
    }
  }
  to.end()
}

/** Passes what comes to its port on to `port`. */
export const open = (port: number): Promise<TestProxy> =>
  new Promise((resolve) => {
    const sockets = new Set<Socket>()
    const pipes = new Set<Pipe>()
    const servers = new Set<Socket>()
    const cut = () => {
      for (const socket of sockets) socket.resetAndDestroy()
      sockets.clear()
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      const far = createConnection({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
      servers.add(far)
      far.on("close", () => servers.delete(far))
      for (const [one, other, direction] of [
        [near, far, "up"],
        [far, near, "down"]
      ] as const) {
        const pipe = { direction, stalled: false }
        pipes.add(pipe)
        sockets.add(one)
        one.on("close", () => {
          sockets.delete(one)
          pipes.delete(pipe)
        })
        // A connection that breaks on one side breaks on the other.
        one.on("error", () => other.resetAndDestroy())
        relay(one, other, proxy, pipe).catch(() => other.resetAndDestroy())
      }
    })
    const close = () => {
      cut()
      server.close()
    }
    const stall: TestProxy["stall"] = (...directions) => {
      for (const pipe of pipes) if (directions.includes(pipe.direction)) pipe.stalled = true
    }
    const halfClose = () => {
      for (const far of servers) far.end()
    }
    const refuse = () => void server.close()
    const proxy = { port: 0, delay: 0, split: 0, stalled: false, stall, halfClose, refuse, cut, close }
    server.listen(0, "127.0.0.1", 4096, () => {
      proxy.port = (server.address() as { readonly port: number }).port
      resolve(proxy)
    })
  })

/** The same, until the scope closes. */
export const proxy = (port: number) =>
  Effect.acquireRelease(
    Effect.promise(() => open(port)),
    ({ close }) => Effect.sync(close)
  )
