/**
 * What an app configures about a client: its name, group, token and heartbeat. Invariant: a
 * server can decode everything that `decode` accepts, so a wrong value fails before anything connects.
 */
import { Duration, Effect, Schema } from "effect"
import { GroupName, Name, Secret } from "../protocol/Ids.ts"
import { Heartbeat } from "../protocol/Messages.ts"
import { Rejected } from "./Rejected.ts"

/** The name and the group that a client asks for, and the token that admits it. */
export interface Identity {
  /** 1-64 of `A-Z a-z 0-9 . _ -`, not like a member id (`m1`); none by default. */
  readonly name?: string
  /** 1-64 of `A-Z a-z 0-9 . _ -`; `default` by default. */
  readonly group?: string
  /** 1-512 printable characters without spaces; needed where the server asks for a token. */
  readonly token?: string
}

export interface ConnectionOptions extends Identity {
  /**
   * How often the client and the server hear from each other: 0.1 to 3600 seconds; 5 by default, and 2 for a client
   * with a lease. The client gives up a server after two silent heartbeats; the server gives up a client after two and
   * a half.
   */
  readonly heartbeat?: Duration.Input
  /**
   * Whether this client acts on its rank. Then the server promotes nobody past it while it may still act. `Leader` asks
   * for it where it is missing; asking at once spares a second `Hello`.
   */
  readonly lease?: true
}

/** The client detects a dead server within two of them: 10 seconds. */
const HEARTBEAT = Duration.seconds(5)

/** The next leader waits for two and a half of them, 5 seconds, if the leader is lost. */
const LEASE_HEARTBEAT = Duration.seconds(2)

const decodeOptions = Schema.decodeUnknownEffect(
  Schema.Struct({
    name: Schema.optionalKey(Name),
    group: Schema.optionalKey(GroupName),
    token: Schema.optionalKey(Secret),
    heartbeat: Heartbeat
  })
)

/** Checks the options; the heartbeats that it returns, with and without a lease, are in milliseconds. Fails with `malformed`. */
export const decode = ({ heartbeat, lease, ...identity }: ConnectionOptions) =>
  Effect.mapBoth(decodeOptions({ ...identity, heartbeat: Duration.toMillis(heartbeat ?? HEARTBEAT) }), {
    onFailure: ({ message }) => new Rejected({ reason: "malformed", detail: message }),
    onSuccess: ({ heartbeat: plain, ...identity }) => {
      const leased = heartbeat === undefined ? Duration.toMillis(LEASE_HEARTBEAT) : plain
      return { identity, lease, heartbeat: lease === true ? leased : plain, leaseHeartbeat: leased }
    }
  })
