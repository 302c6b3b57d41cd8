/** A TCP proxy that delays, splits, stalls, resets and half-closes what passes through it. */
import { createConnection, createServer, type Socket } from "node:net"
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises"
import { Effect } from "effect"

/** To the server, or to the client. */
export type Direction = "up" | "down"

/** How the proxy treats all bytes from now on, over present and later connections. */
export interface Disturbance {
  /** By how many milliseconds bytes are late. */
  delay: number
  /** The most bytes that it passes on in one piece; 0: as many as there are. */
  split: number
  /** Whether it reads and passes on nothing. */
  stalled: boolean
  /** The directions in which it passes on nothing, neither bytes nor ends. What waits is passed on later. */
  readonly held: Set<Direction>
}

export interface TestProxy extends Disturbance {
  readonly port: number
  /** Passes nothing more on over the present connections: to the server, to the client, or both. */
  readonly stall: (...directions: ReadonlyArray<Direction>) => void
  /**
   * Ends this direction of the present connections, and drops what still comes. The other direction works on; with
   * `keeps open` it also never ends, so that neither peer hears that the other has closed.
   */
  readonly halfClose: (direction: Direction, how?: "keeps open") => void
  /** Takes no more connections. */
  readonly refuse: () => void
  /** Takes connections again, on the same port. */
  readonly accept: () => Promise<void>
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
  readonly direction: Direction
  stalled: boolean
  /** `closed`: it has ended, and drops what comes. `kept open`: it never ends. */
  ending: "as it comes" | "closed" | "kept open"
  readonly to: Socket
}

/** Waits while the direction is stalled. */
const flowing = async (to: Socket, disturbance: Disturbance, pipe: Pipe): Promise<void> => {
  const isStalled = () => disturbance.stalled || disturbance.held.has(pipe.direction) || pipe.stalled
  while (isStalled() && !to.destroyed) await sleep(5)
}

/** Passes on the bytes of `from`, and its end. */
const relay = async (from: Socket, to: Socket, disturbance: Disturbance, pipe: Pipe): Promise<void> => {
  for await (const bytes of from as AsyncIterable<Buffer>) {
    if (disturbance.delay > 0) await sleep(disturbance.delay)
    await flowing(to, disturbance, pipe)
    for (let at = 0; at < bytes.length && !to.destroyed && pipe.ending !== "closed"; ) {
      const length = disturbance.split || bytes.length
      if (!to.write(bytes.subarray(at, at + length))) await drained(to)
      at += length
      // A piece a turn is a segment of its own; more often than not.
      if (at < bytes.length) await turn()
    }
  }
  await flowing(to, disturbance, pipe)
  if (pipe.ending === "as it comes") to.end()
}

/** Passes what comes to its port on to `port`. */
export const open = (port: number): Promise<TestProxy> =>
  new Promise((resolve) => {
    const sockets = new Set<Socket>()
    const pipes = new Set<Pipe>()
    const cut = () => {
      for (const socket of sockets) socket.resetAndDestroy()
      sockets.clear()
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
      const far = createConnection({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
      for (const [one, other, direction] of [
        [near, far, "up"],
        [far, near, "down"]
      ] as const) {
        const pipe: Pipe = { direction, stalled: false, ending: "as it comes", to: other }
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
    const halfClose: TestProxy["halfClose"] = (direction, how) => {
      for (const pipe of pipes) {
        if (pipe.direction === direction) {
          pipe.ending = "closed"
          pipe.to.end()
        } else if (how !== undefined) pipe.ending = "kept open"
      }
    }
    const refuse = () => void server.close()
    const accept = () => new Promise<void>((done) => void server.listen(proxy.port, "127.0.0.1", done))
    const held = new Set<Direction>()
    const proxy = {
      ...{ port: 0, delay: 0, split: 0, stalled: false, held },
      ...{ stall, halfClose, refuse, accept, cut, close }
    }
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
