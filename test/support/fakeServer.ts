/** A server that sends what a test makes it send, to see what a client does. */
import { createServer, type Socket } from "node:net"
import { Effect } from "effect"
import type { ServerMessage } from "../../src/protocol/Messages.ts"

/** A message of a client, as it came. */
export type Said = { readonly _tag: string; readonly id?: string } & { readonly [field: string]: unknown }

export interface Connection {
  readonly socket: Socket
  /** All messages that came over it. */
  readonly said: ReadonlyArray<Said>
  readonly say: (message: ServerMessage) => void
}

type Welcome = ServerMessage & { readonly _tag: "Welcome" }

export const welcome = (fields: Partial<Omit<Welcome, "_tag">> = {}): Welcome => ({
  ...{ _tag: "Welcome", protocol: 1, server: "fake", member: "m1", group: "default" },
  ...{ rank: 0, size: 2, epoch: 7, maxLine: 65_536, heartbeat: 0, ...fields }
})

/** On a free port until the scope closes. `hear` is called with each message of each connection, in order. */
export const fakeServer = Effect.fnUntraced(function* (hear: (said: Said, connection: Connection) => void) {
  const connections: Array<Connection> = []
  const server = yield* Effect.acquireRelease(
    Effect.callback<ReturnType<typeof createServer>>((resume) => {
      const server = createServer((socket) => {
        const said: Array<Said> = []
        const say = (message: ServerMessage) => socket.write(`${JSON.stringify(message)}\n`)
        const connection: Connection = { socket, said, say }
        connections.push(connection)
        let partial = ""
        socket.setEncoding("utf8").on("error", () => {})
        socket.on("data", (text) => {
          const lines = (partial + text).split("\n")
          partial = lines.pop()!
          for (const line of lines) {
            const message: Said = JSON.parse(line)
            said.push(message)
            hear(message, connection)
          }
        })
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        for (const { socket } of connections) socket.destroy()
        server.close()
      })
  )
  const { port } = server.address() as { readonly port: number }
  return { port, connections }
})
