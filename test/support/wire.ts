/** A server on a real port, and clients on real sockets that send and receive lines. */
import { createConnection, type Socket } from "node:net"
import { type ConnectionOptions, connect as connectSecurely, type TLSSocket } from "node:tls"
import { Context, Deferred, Effect, Layer, Logger, type Scope } from "effect"
import { Access, type AccessPolicy, NodeServer, RankServer, Settings, type SettingsValues } from "../../src/index.ts"

/** How long something that must happen may take before a test fails. */
const DEADLINE = "60 seconds"

export class Port extends Context.Service<Port, number>()("rankd/test/Port") {}

/** A server in this process, on a free port of the loopback interface, with TLS if `tls` says so. */
export const serverLayer = (
  settings: Partial<SettingsValues> = {},
  tls: NodeServer.TlsOptions | undefined = undefined,
  access: AccessPolicy | undefined = undefined
): Layer.Layer<Port> =>
  Layer.effect(
    Port,
    Effect.map(RankServer, ({ address }) => (address as { readonly port: number }).port)
  ).pipe(
    Layer.provide(RankServer.layer),
    Layer.provideMerge(NodeServer.layer({ host: "127.0.0.1", port: 0, tls })),
    Layer.provide(Settings.layer(settings)),
    Layer.provide(Layer.succeed(Access, access)),
    Layer.provide(Logger.layer([])),
    Layer.orDie
  )

export class WireClient {
  readonly socket: Socket
  /** Lines that were received and not taken yet. */
  readonly heard: Array<string> = []
  closed = false
  #partial = ""
  #changed: Deferred.Deferred<void> = Deferred.makeUnsafe()

  constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding("utf8")
    socket.on("data", (text) => {
      const lines = (this.#partial + text).split("\n")
      this.#partial = lines.pop()!
      this.heard.push(...lines)
      this.#change()
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      this.closed = true
      this.#change()
    })
  }

  get address(): string {
    return `127.0.0.1:${this.socket.localPort}`
  }

  send(...lines: ReadonlyArray<string>): void {
    this.socket.write(lines.map((line) => `${line}\n`).join(""))
  }

  /** Takes the next line; undefined when the server has closed the connection, or says nothing for too long. */
  readonly next: Effect.Effect<string | undefined> = Effect.suspend(() =>
    this.heard.length > 0 || this.closed
      ? Effect.succeed(this.heard.shift())
      : Effect.flatMap(Deferred.await(this.#changed), () => this.next)
  ).pipe(Effect.timeoutOrElse({ duration: DEADLINE, orElse: () => Effect.succeed(undefined) }))

  /** Takes what is heard up to the first line that `isLast` accepts, that line included. */
  until(isLast: (line: string) => boolean): Effect.Effect<Array<string>> {
    const wait: Effect.Effect<Array<string>> = Effect.suspend(() => {
      const index = this.heard.findIndex(isLast)
      if (index >= 0) return Effect.succeed(this.heard.splice(0, index + 1))
      if (this.closed) return Effect.die(new Error(`closed; heard ${JSON.stringify(this.heard)}`))
      return Effect.flatMap(Deferred.await(this.#changed), () => wait)
    })
    return Effect.timeoutOrElse(wait, {
      duration: DEADLINE,
      orElse: () => Effect.die(new Error(`waited in vain; heard ${JSON.stringify(this.heard.slice(-20))}`))
    })
  }

  /** All that is heard until the server has closed the connection. */
  readonly untilClosed: Effect.Effect<Array<string>> = Effect.suspend(() =>
    this.closed
      ? Effect.succeed(this.heard.splice(0))
      : Effect.flatMap(Deferred.await(this.#changed), () => this.untilClosed)
  ).pipe(Effect.timeoutOrElse({ duration: DEADLINE, orElse: () => Effect.die(new Error("was not closed")) }))

  #change(): void {
    const changed = this.#changed
    this.#changed = Deferred.makeUnsafe()
    Deferred.doneUnsafe(changed, Effect.void)
  }
}

/** A client that is connected until the scope closes. It has not read its first line yet. */
export const connect = (address: {
  readonly host: string
  readonly port: number
}): Effect.Effect<WireClient, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<WireClient>((resume) => {
      const socket = createConnection({ ...address, noDelay: true }, () => resume(Effect.succeed(wire)))
      const wire = new WireClient(socket)
      socket.on("error", (error) => resume(Effect.die(error)))
    }),
    ({ socket }) => Effect.sync(() => socket.destroy())
  )

/** The same over TLS; the server may still reject its certificate. */
export const connectTls = (options: ConnectionOptions): Effect.Effect<WireClient, Error, Port | Scope.Scope> =>
  Effect.flatMap(Port, (port) =>
    Effect.acquireRelease(
      Effect.callback<WireClient, Error>((resume) => {
        const socket: TLSSocket = connectSecurely({ host: "127.0.0.1", port, ...options }, () =>
          resume(Effect.succeed(wire))
        )
        const wire = new WireClient(socket)
        socket.on("error", (error) => resume(Effect.fail(error)))
      }),
      ({ socket }) => Effect.sync(() => socket.destroy())
    )
  )

/** A client of `serverLayer`'s server. */
export const client: Effect.Effect<WireClient, never, Port | Scope.Scope> = Effect.flatMap(Port, (port) =>
  connect({ host: "127.0.0.1", port })
)
