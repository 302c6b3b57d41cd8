/**
 * A whole server on `MemorySocket`s: no network, and with `TestClock` no real time.
 * All of it runs on one `IdleScheduler`, so a test knows when the server has done all that it can.
 */
import { createHash } from "node:crypto"
import { Context, type Duration, Effect, Exit, Fiber, Layer, Logger, References, Scheduler, Scope } from "effect"
import { WebCrypto } from "effect/crypto"
import { NetAddress } from "effect/net"
import { SocketServer } from "effect/socket"
import { TestClock } from "effect/testing"
import { TransportOf, throughWriter } from "../../src/net/Transport.ts"
import { Access, type AccessPolicy } from "../../src/server/admission/Access.ts"
import type { Events } from "../../src/server/events/Events.ts"
import { RankServer } from "../../src/server/Server.ts"
import { Settings, type SettingsValues } from "../../src/server/Settings.ts"
import { IdleScheduler, settled } from "./IdleScheduler.ts"
import { MemorySocket } from "./MemorySocket.ts"
import type { Tuple } from "./tuple.ts"

/** Synchronous digests: a thread makes the real ones, and no scheduler can wait for it. */
const syncCrypto = {
  subtle: {
    digest: async (algorithm: string, data: Uint8Array) =>
      Uint8Array.from(createHash(algorithm.replace("-", "")).update(data).digest()).buffer
  }
} as unknown as Crypto

export { settled }

/** Loggers that add a line for each message, as `left member=m1 ...`. What `TestClock` warns of is no line of the server. */
export const loggingTo = (lines: Array<string>): Layer.Layer<never> =>
  Logger.layer([
    Logger.map(Logger.formatStructured, ({ annotations, message }) => {
      if (`${message}`.startsWith("A test is using time")) return
      lines.push([message, ...Object.entries(annotations).map(([name, value]) => `${name}=${value}`)].join(" "))
    })
  ])

export class Network extends Context.Service<
  Network,
  {
    readonly connect: Effect.Effect<MemorySocket>
    /** Connects from this address, with a certificate for this name. */
    readonly connectFrom: (address: string, certificateName?: string) => Effect.Effect<MemorySocket>
    /** Stops the server, as a signal would; succeeds when it has stopped. */
    readonly stop: Effect.Effect<void>
    readonly ready: () => boolean
    readonly events: Events
  }
>()("rankd/test/Network") {
  /** `logged` gets a line for each message that the server logs, such as `left member=m1 ...`. */
  static readonly layer = (
    settings: Partial<SettingsValues> = {},
    logged: Array<string> = [],
    access: AccessPolicy | undefined = undefined
  ): Layer.Layer<Network> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const scheduler = new IdleScheduler(yield* Scheduler.Scheduler)
        const network = yield* make(settings, access).pipe(
          Effect.provideService(Scheduler.Scheduler, scheduler),
          Effect.provideService(WebCrypto.WebCrypto, syncCrypto)
        )
        // What a test forks runs on it, too.
        return Context.make(Network, network).pipe(Context.add(Scheduler.Scheduler, scheduler))
      })
    ).pipe(Layer.provide(loggingTo(logged)), Layer.provide(Layer.succeed(References.MinimumLogLevel, "Debug")))
}

const make = Effect.fnUntraced(function* (settings: Partial<SettingsValues>, access: AccessPolicy | undefined) {
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
            throughWriter(transported, {
              unsent,
              address: socket.address,
              certificate:
                socket.certificateName === undefined
                  ? undefined
                  : { verified: true, subjectAltName: `DNS:${socket.certificateName}` }
            })
        )
        Fiber.runIn(Effect.runForkWith(services)(session), connections)
      }
      return yield* Effect.never.pipe(Effect.onExit(() => Scope.close(connections, Exit.void)))
    })
  })
  const sockets = new Set<MemorySocket>()
  const scope = yield* Effect.acquireRelease(Scope.make(), (scope) => {
    // The server would wait for lingering clients, on a clock that stands still.
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
  const context = yield* Effect.context<never>()
  const connectFrom = (address: string, certificateName?: string) =>
    Effect.gen(function* () {
      const socket = yield* MemorySocket.make(address, certificateName)
      sockets.add(socket)
      accept(socket)
      yield* settled
      return socket
    }).pipe(Effect.provideContext(context))
  const { events, ready } = Context.get(services, RankServer)
  return {
    connect: connectFrom("unknown"),
    connectFrom,
    ready,
    events,
    stop: Scope.close(scope, Exit.void)
  }
})

/** Advances the clock, and waits until the server has done what is due by then. */
export const passes = (duration: Duration.Input): Effect.Effect<void> =>
  settled.pipe(Effect.andThen(TestClock.adjust(duration)), Effect.andThen(settled))

/** A server of its own for a test. */
export const server = (settings?: Partial<SettingsValues>, logged?: Array<string>, access?: AccessPolicy) =>
  Effect.provide(Network.layer(settings, logged, access))

/** Connects clients, in the order of their ranks, and drops the lines that they received. */
export const connect = <const N extends number>(count: N): Effect.Effect<Tuple<MemorySocket, N>, never, Network> =>
  Effect.gen(function* () {
    const network = yield* Network
    const clients: Array<MemorySocket> = []
    for (let i = 0; i < count; i++) clients.push(yield* network.connect)
    for (const client of clients) client.lines()
    return clients as Tuple<MemorySocket, N>
  })

/** Sends `lines`, and returns the lines that the client receives then. */
export const say = (client: MemorySocket, ...lines: ReadonlyArray<string>) =>
  Effect.suspend(() => {
    client.send(lines.map((line) => `${line}\n`).join(""))
    return Effect.map(settled, () => client.lines())
  })
