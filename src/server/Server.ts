/**
 * All clients: the service that ranks whoever connects to the `SocketServer`.
 * Each connection is a fiber that the `SocketServer` supervises; this module owns
 * what they share and their common end.
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { NetAddress } from "effect/net"
import { SocketServer } from "effect/socket"
import packageJson from "../../package.json" with { type: "json" }
import * as Groups from "../rank/Groups.ts"
import type { RankRef } from "../rank/RankRef.ts"
import { Access } from "./admission/Access.ts"
import * as Gate from "./admission/Admission.ts"
import * as Places from "./admission/Reservations.ts"
import * as Commands from "./commands/Commands.ts"
import * as Group from "./group/Group.ts"
import { Router } from "./group/Router.ts"
import { FlushQueue } from "./outbound/FlushQueue.ts"
import { ServerTotal } from "./outbound/ServerTotal.ts"
import type { Client } from "./Peer.ts"
import { Settings } from "./Settings.ts"
import * as Liveness from "./session/Liveness.ts"
import * as Session from "./session/Session.ts"

/** Closes the client for which most waits. */
const shedMost = (clients: Iterable<Client>) => {
  let most: Client | undefined
  for (const client of clients) if (client.outbox.pending > (most?.outbox.pending ?? 0)) most = client
  most?.outbox.shed()
}

export class RankServer extends Context.Service<
  RankServer,
  {
    /** Where it listens; the port is the real one where 0 was asked for. */
    readonly address: NetAddress.SocketAddress
    /** False from the moment that the server is to stop, while it still serves those who are there. */
    readonly ready: () => boolean
  }
>()("rankd/server/RankServer") {
  /**
   * Serves as long as the layer lives. Its end lets the tracked commands end that
   * are open, for `Settings.drain` at most, tells every client `BYE shutting down`, and
   * waits for them, `Settings.linger` at most.
   */
  static readonly layer: Layer.Layer<RankServer, never, SocketServer.SocketServer> = Layer.effect(
    RankServer,
    Effect.gen(function* () {
      const socketServer = yield* SocketServer.SocketServer
      const settings = yield* Settings
      const flushQueue = new FlushQueue()
      const commands = yield* Commands.make(flushQueue, settings)
      const groups = yield* Groups.make({
        capacity: settings.maxClients,
        open: (name, ranks: RankRef<Client>) => Group.make(name, ranks, commands, flushQueue, () => shared.stopping)
      })
      const clock = yield* Clock.Clock
      const clients = new Set<Client>()
      const places = yield* Places.make(settings, commands)
      const shared: Session.Shared = {
        settings,
        server: `rankd/${packageJson.version}`,
        groups,
        commands,
        router: new Router(commands, settings.maxLine),
        liveness: yield* Liveness.make(flushQueue),
        places,
        outboxes: {
          flushQueue,
          total: new ServerTotal(settings.maxTotalPending, () => shedMost(clients)),
          maxPending: settings.maxPending,
          maxHold: settings.maxHold,
          stallTimeout: settings.stallTimeout,
          now: () => Number(clock.monotonicTimeNanosUnsafe() / 1_000_000n),
          fork: Effect.runForkWith(yield* Effect.context<never>())
        },
        clients,
        gate: yield* Gate.make(yield* Access, settings, clients, places),
        farewells: 0,
        draining: false,
        stopping: false
      }
      yield* Effect.forkScoped(socketServer.run((socket) => Session.run(shared, socket)))
      yield* Effect.addFinalizer(() => Session.stopAll(shared))
      return { address: socketServer.address, ready: () => !shared.draining }
    })
  )
}
