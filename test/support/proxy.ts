/** A TCP proxy whose connections a test can cut. */
import { createConnection, createServer, type Socket } from "node:net"
import { Effect } from "effect"

type Pipe = readonly [Socket, Socket]

export interface Proxy {
  readonly port: number
  readonly cut: () => void
  /** Passes nothing more on over the connections of now: to the server, to the client, or both. */
  readonly stall: (...directions: ReadonlyArray<"up" | "down">) => void
  readonly close: () => void
}

/** Passes what comes to its port on to `port`, until the scope closes. */
export const proxy = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<Proxy>((resume) => {
      const sockets = new Set<Socket>()
      const pipes = { up: new Set<Pipe>(), down: new Set<Pipe>() }
      const cut = () => {
        for (const socket of sockets) socket.resetAndDestroy()
        sockets.clear()
      }
      const server = createServer((near) => {
        const far = createConnection(port, "127.0.0.1")
        for (const [one, other, direction] of [
          [near, far, "up"],
          [far, near, "down"]
        ] as const) {
          sockets.add(one)
          pipes[direction].add([one, other])
          one.on("error", () => {}).on("close", () => other.destroy())
          one.pipe(other)
        }
      })
      server.listen(0, "127.0.0.1", () => {
        const close = () => {
          cut()
          server.close()
        }
        const stall: Proxy["stall"] = (...directions) => {
          for (const direction of directions) for (const [one, other] of pipes[direction]) one.unpipe(other).pause()
        }
        resume(Effect.succeed({ port: (server.address() as { readonly port: number }).port, cut, stall, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )
