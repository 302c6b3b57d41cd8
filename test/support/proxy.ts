/** A TCP proxy whose connections a test can cut. */
import { createConnection, createServer, type Socket } from "node:net"
import { Effect } from "effect"

/** Passes what comes to its port on to `port`, until the scope closes. */
export const proxy = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly port: number; readonly cut: () => void; readonly close: () => void }>((resume) => {
      const sockets = new Set<Socket>()
      const cut = () => {
        for (const socket of sockets) socket.resetAndDestroy()
        sockets.clear()
      }
      const server = createServer((near) => {
        const far = createConnection(port, "127.0.0.1")
        for (const [one, other] of [
          [near, far],
          [far, near]
        ] as const) {
          sockets.add(one)
          one.on("error", () => {}).on("close", () => other.destroy())
          one.pipe(other)
        }
      })
      server.listen(0, "127.0.0.1", () => {
        const close = () => {
          cut()
          server.close()
        }
        resume(Effect.succeed({ port: (server.address() as { readonly port: number }).port, cut, close }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )
