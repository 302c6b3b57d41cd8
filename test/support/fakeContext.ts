/** The context of sessions without a server: it has no sockets, no sessions and no log, and its sweeps do not run. */
import { Clock, Duration, Effect } from "effect"
import * as Groups from "../../src/rank/Groups.ts"
import type { AccessPolicy } from "../../src/server/admission/Access.ts"
import { Admission } from "../../src/server/admission/Admission.ts"
import { Authenticator } from "../../src/server/admission/Authenticator.ts"
import { ConnectionLimits } from "../../src/server/admission/ConnectionLimits.ts"
import * as Reservations from "../../src/server/admission/Reservations.ts"
import { TrackedCommands } from "../../src/server/commands/TrackedCommands.ts"
import { Events } from "../../src/server/events/Events.ts"
import * as Group from "../../src/server/group/Group.ts"
import { LeadIns } from "../../src/server/group/LeadIns.ts"
import { Router } from "../../src/server/group/Router.ts"
import { FlushQueue } from "../../src/server/outbound/FlushQueue.ts"
import { ServerTotal } from "../../src/server/outbound/ServerTotal.ts"
import type { Peer } from "../../src/server/Peer.ts"
import { defaults, type SettingsValues } from "../../src/server/Settings.ts"
import { Liveness } from "../../src/server/session/Liveness.ts"
import type { ServerContext } from "../../src/server/session/ServerContext.ts"
import { monotonicMillis } from "../../src/server/time.ts"

export const fakeContext = Effect.fnUntraced(function* (
  settingsValues: Partial<SettingsValues> = {},
  access: AccessPolicy | undefined = undefined
) {
  const settings = { ...defaults, ...settingsValues }
  const { maxHold, maxPending, maxTotalPending, stallTimeout } = settings
  const now = monotonicMillis(yield* Clock.Clock)
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const events = new Events()
  const flushQueue = new FlushQueue()
  const commands = new TrackedCommands({ flushQueue, events, now, settings })
  const leadIns = new LeadIns(Duration.toMillis(settings.settle), now)
  const reservations = yield* Reservations.make(settings, leadIns)
  const groups = yield* Groups.make({
    capacity: settings.maxClients,
    isPlaceholder: (peer: Peer) => reservations.isPlaceholder(peer),
    reasonOf: Group.leaveReasonOf,
    open: Group.opening({ flushQueue, events, leadIns, stopping: () => context.phase === "stopping" })
  })
  const total = new ServerTotal(maxTotalPending, () => {})
  const context: ServerContext = {
    settings,
    serverName: "rankd/test",
    events,
    limits: new ConnectionLimits(settings),
    authenticator: new Authenticator({ access, settings, events, now }),
    admission: new Admission({ groups, reservations, events, draining: () => context.phase !== "serving" }),
    reservations,
    leadIns,
    commands,
    router: new Router(commands, events.stats, settings.maxLine),
    liveness: new Liveness(flushQueue),
    commandTimeout: Duration.toMillis(settings.commandTimeout),
    outboxes: { total, flushQueue, stats: events.stats, maxPending, maxHold, stallTimeout, now, fork },
    now,
    sessions: new Set(),
    lingering: 0,
    phase: "serving"
  }
  return { context, groups }
})
