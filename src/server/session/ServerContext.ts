/** The parts of a server that its sessions share. */
import type { Admission } from "../admission/Admission.ts"
import type { Authenticator } from "../admission/Authenticator.ts"
import type { ConnectionLimits } from "../admission/ConnectionLimits.ts"
import type { Reservations } from "../admission/Reservations.ts"
import type { TrackedCommands } from "../commands/TrackedCommands.ts"
import type { Events } from "../events/Events.ts"
import type { LeadIns } from "../group/LeadIns.ts"
import type { Router } from "../group/Router.ts"
import type { OutboxOptions } from "../outbound/Outbox.ts"
import type { Peer } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import type { Liveness } from "./Liveness.ts"

export interface ServerContext {
  readonly settings: SettingsValues
  /** The server's name and version, such as `rankd/0.1.0`. */
  readonly serverName: string
  readonly events: Events
  readonly limits: ConnectionLimits
  readonly authenticator: Authenticator
  readonly admission: Admission
  readonly reservations: Reservations
  readonly leadIns: LeadIns
  readonly commands: TrackedCommands
  readonly router: Router
  readonly liveness: Liveness
  /** The default timeout of a tracked command, in milliseconds. */
  readonly commandTimeout: number
  readonly outboxes: OutboxOptions
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
  /** All running sessions, those of refused clients included. */
  readonly sessions: Set<Peer>
  /** The number of clients without a seat whose connections are in an orderly close. */
  lingering: number
  phase: Phase
}

/** `draining`: the server takes no new clients and no commands. `stopping`: it disconnects all clients, and promotes none. */
export type Phase = "serving" | "draining" | "stopping"
