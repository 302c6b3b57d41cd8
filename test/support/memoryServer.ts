/** A whole server on `MemorySocket`s: no network, and with `TestClock` no real time. */
import { Context, Effect, Exit, Fiber, Layer, Logger, References, Scope } from "effect"
import { NetAddress } from "effect/net"
import { SocketServer } from "effect/socket"
import { TransportOf, throughWriter } from "../../src/net/Transport.ts"
import { Access, type AccessPolicy } from "../../src/server/admission/Access.ts"
import { RankServer } from "../../src/server/Server.ts"
import { Settings, type SettingsValues } from "../../src/server/Settings.ts"
import { MemorySocket } from "./MemorySocket.ts"

export class Network extends Context.Service<
  Network,
  {
    readonly connect: Effect.Effect<MemorySocket>
    /** The same from an address of its own. */
    readonly connectFrom: (address: string, certified?: string) => Effect.Effect<MemorySocket>
    /** Stops the server, as a signal would; succeeds when it has stopped. */
    readonly stop: Effect.Effect<void>
    readonly ready: () => boolean
  }
>()("rankd/test/Network") {
  /** `logged` gets a line for all that the server logs, as `left member=m1 ...`. */
  static readonly layer = (
    settings: Partial<SettingsValues> = {},
    logged: Array<string> = [],
    access: AccessPolicy | undefined = undefined
  ): Layer.Layer<Network> =>
    Layer.effect(
      Network,
      Effect.gen(function* () {
        let accept: (socket: MemorySocket) => void = () => {}
        const socketServer = SocketServer.SocketServer.of({
          address: NetAddress.unixPathAddress("/memory"),
          run: Effect.fnUntraced(function* (handler) {
            const connections = yield* Scope.make()
            const services = yield* Effect.context<never>()
            accept = (socket) => {
              const unsent = () => (socket.destroyed ? 0 : socket.unread)
              const session = Effect.provideService(
                handler(socket.socket) as Effect.Effect<unknown>,
                TransportOf,
                (transported) =>
                  throughWriter(transported, { unsent, address: socket.address, certified: socket.certified })
              )
              Fiber.runIn(Effect.runForkWith(services)(session), connections)
            }
            return yield* Effect.never.pipe(Effect.onExit(() => Scope.close(connections, Exit.void)))
          })
        })
        const sockets = new Set<MemorySocket>()
        const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => {
          // Clients that linger would be waited for, on a clock that stands still.
          for (const socket of sockets) socket.reset()
          return Scope.close(scope, Exit.void)
        })
        const services = yield* Layer.buildWithScope(
          RankServer.layer.pipe(
            Layer.provide(Layer.succeed(SocketServer.SocketServer, socketServer)),
            Layer.provide(Settings.layer(settings)),
            Layer.provide(Layer.succeed(Access, access))
          ),
          scope
        )
        yield* settled
        const connectFrom = Effect.fnUntraced(function* (address: string, certified?: string) {
          const socket = new MemorySocket(address, certified)
          sockets.add(socket)
          accept(socket)
          yield* settled
          return socket
        })
        return {
          connect: connectFrom("unknown"),
          connectFrom,
          ready: Context.get(services, RankServer).ready,
          stop: Scope.close(scope, Exit.void)
        }
      })
    ).pipe(
      Layer.provide(
        Logger.layer([
          Logger.map(Logger.formatStructured, ({ annotations, message }) => {
            const values = Object.entries(annotations).map(([name, value]) => `${name}=${value}`)
            logged.push([message, ...values].join(" "))
          })
        ])
      ),
      Layer.provide(Layer.succeed(References.MinimumLogLevel, "Debug"))
    )
}

/** Lets every fiber run that can, without time passing. */
export const settled: Effect.Effect<void> = Effect.promise(async () => {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve))
})

/** A server of its own for a test. */
export const server = (settings?: Partial<SettingsValues>, logged?: Array<string>, access?: AccessPolicy) =>
  Effect.provide(Network.layer(settings, logged, access))

/** Clients in the order of their ranks; what they were told so far is taken. */
export const connect = (count: number) =>
  Effect.gen(function* () {
    const network = yield* Network
    const clients: Array<MemorySocket> = []
    for (let i = 0; i < count; i++) clients.push(yield* network.connect)
    for (const client of clients) client.lines()
    return clients
  })

/** What the client received after it said `lines`. */
export const say = (client: MemorySocket, ...lines: ReadonlyArray<string>) =>
  Effect.suspend(() => {
    client.send(lines.map((line) => `${line}\n`).join(""))
    return Effect.map(settled, () => client.lines())
  })
