/**
 * The server: a service that ranks the clients of a `SocketServer`. The `SocketServer`
 * supervises one fiber per connection. This module assembles the parts that the sessions
 * share, and ends all sessions when its layer ends.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import type { NetAddress } from "effect/net"
import { SocketServer } from "effect/socket"
import packageJson from "../../package.json" with { type: "json" }
import * as Groups from "../rank/Groups.ts"
import { Access } from "./admission/Access.ts"
import { Admission } from "./admission/Admission.ts"
import { Authenticator } from "./admission/Authenticator.ts"
import { ConnectionLimits } from "./admission/ConnectionLimits.ts"
import * as Reservations from "./admission/Reservations.ts"
import { TrackedCommands } from "./commands/TrackedCommands.ts"
import { Events } from "./events/Events.ts"
import type { Stats } from "./events/Stats.ts"
import * as Group from "./group/Group.ts"
import { LeadIns } from "./group/LeadIns.ts"
import { Router } from "./group/Router.ts"
import * as EventLog from "./log/EventLog.ts"
import { FlushQueue } from "./outbound/FlushQueue.ts"
import type { OutboxOptions } from "./outbound/Outbox.ts"
import { ServerTotal } from "./outbound/ServerTotal.ts"
import type { Peer } from "./Peer.ts"
import { Settings, type SettingsValues } from "./Settings.ts"
import { Liveness } from "./session/Liveness.ts"
import type { ServerContext } from "./session/ServerContext.ts"
import * as Session from "./session/Session.ts"
import { monotonicMillis } from "./time.ts"

/** Closes the client with the most waiting bytes. */
const shedMost = (peers: Iterable<Peer>) => {
  let most: Peer | undefined
  for (const peer of peers) if (peer.outbox.pending > (most?.outbox.pending ?? 0)) most = peer
  most?.outbox.shed()
}

const makeOutboxes = Effect.fnUntraced(function* (
  { maxHold, maxPending, maxTotalPending, stallTimeout }: SettingsValues,
  sessions: Iterable<Peer>,
  stats: Stats,
  now: () => number
): Effect.fn.Return<OutboxOptions> {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const total = new ServerTotal(maxTotalPending, () => shedMost(sessions))
  return { total, flushQueue: new FlushQueue(), stats, maxPending, maxHold, stallTimeout, now, fork }
})

/** Builds the parts that the sessions share; each part uses parts above it. */
const makeContext = Effect.gen(function* () {
  const settings = yield* Settings
  const now = monotonicMillis(yield* Clock.Clock)
  const events = new Events()
  yield* events.observe(yield* EventLog.make)
  const sessions = new Set<Peer>()
  const outboxes = yield* makeOutboxes(settings, sessions, events.stats, now)
  const { flushQueue } = outboxes
  const commands = new TrackedCommands({ flushQueue, events, now, settings })
  yield* commands.run
  const liveness = new Liveness(flushQueue)
  yield* liveness.run
  const leadIns = new LeadIns(Duration.toMillis(settings.settle), now)
  const reservations = yield* Reservations.make(settings, leadIns)
  const groups = yield* Groups.make({
    capacity: settings.maxClients,
    isPlaceholder: (peer: Peer) => reservations.isPlaceholder(peer),
    reasonOf: Group.leaveReasonOf,
    open: Group.opening({ flushQueue, events, leadIns, stopping: () => context.phase === "stopping" })
  })
  const authenticator = new Authenticator({ access: yield* Access, settings, events, now })
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  yield* authenticator.watchRevocations((holds) => fork(reservations.revoke(holds)))
  const context: ServerContext = {
    settings,
    serverName: `rankd/${packageJson.version}`,
    events,
    limits: new ConnectionLimits(settings),
    authenticator,
    admission: new Admission({ groups, reservations, events, draining: () => context.phase !== "serving" }),
    reservations,
    leadIns,
    commands,
    router: new Router(commands, events.stats, settings.maxLine),
    liveness,
    commandTimeout: Duration.toMillis(settings.commandTimeout),
    outboxes,
    now,
    sessions,
    lingering: 0,
    phase: "serving"
  }
  return context
})

/** The server as a service. It runs while its layer lives. */
export class RankServer extends Context.Service<
  RankServer,
  {
    /** The address that the server listens on. If the port was 0, this is the port that it got. */
    readonly address: NetAddress.SocketAddress
    /** Whether the server admits new clients. It is false from the moment that the server begins to stop. */
    readonly ready: () => boolean
    /** The events of the server, and its counters. */
    readonly events: Events
  }
>()("rankd/server/RankServer") {
  /**
   * Serves clients while the layer lives. When the layer ends, open tracked commands have
   * `Settings.drain` to end. Then every client gets `BYE shutting down`, and has
   * `Settings.linger` to close its connection. The server logs with the loggers and the
   * log level of the context that builds the layer.
   */
  static readonly layer: Layer.Layer<RankServer, never, SocketServer.SocketServer> = Layer.effect(
    RankServer,
    Effect.gen(function* () {
      const socketServer = yield* SocketServer.SocketServer
      const context = yield* makeContext
      yield* Effect.forkScoped(socketServer.run((socket) => Session.run(context, socket)))
      yield* Effect.addFinalizer(() => Session.stopAll(context))
      return { address: socketServer.address, ready: () => context.phase === "serving", events: context.events }
    })
  )
}
