/** What the sessions of a server share. */
import type { Admission } from "../admission/Admission.ts"
import type { Authenticator } from "../admission/Authenticator.ts"
import type { ConnectionLimits } from "../admission/ConnectionLimits.ts"
import type { Reservations } from "../admission/Reservations.ts"
import type { TrackedCommands } from "../commands/TrackedCommands.ts"
import type { Events } from "../events/Events.ts"
import type { Router } from "../group/Router.ts"
import type { OutboxOptions } from "../outbound/Outbox.ts"
import type { Peer } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import type { Liveness } from "./Liveness.ts"

export interface ServerContext {
  readonly settings: SettingsValues
  /** The server's name for itself, as `rankd/0.1.0`. */
  readonly serverName: string
  readonly events: Events
  readonly limits: ConnectionLimits
  readonly authenticator: Authenticator
  readonly admission: Admission
  readonly reservations: Reservations
  readonly commands: TrackedCommands
  readonly router: Router
  readonly liveness: Liveness
  /** Milliseconds that a tracked command may take which does not say. */
  readonly commandTimeout: number
  readonly outboxes: OutboxOptions
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
  /** The clients whose sessions run, the refused ones included. */
  readonly sessions: Set<Peer>
  /** Clients without a seat whose connections are being closed in order. */
  lingering: number
  phase: Phase
}

/** A server that is `draining` takes no newcomer and no command; one that is `stopping` closes its clients, and promotes nobody. */
export type Phase = "serving" | "draining" | "stopping"
