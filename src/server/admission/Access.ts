/**
 * Which clients may enter, and what they may do. By default every client may do
 * everything. Where an app provides an `Access`, a client has no rank and no verb
 * before it has shown a token that the policy grants something.
 */
import { Context, type Effect, type Scope } from "effect"
import type { RateLimiter } from "../RateLimiter.ts"

/** What a client may do. */
export interface Grant {
  /** The only name that the client may have; any where there is none. */
  readonly name?: string
  /** The groups that the client may be in, the first of them where it asks for none; any where there are none. */
  readonly groups?: ReadonlyArray<string>
  /** Whether it may issue commands. */
  readonly issue: boolean
  /** Whether it may execute commands. */
  readonly execute: boolean
}

export const EVERYTHING: Grant = { issue: true, execute: true }

export interface AccessPolicy {
  /** What the bearer of the token may do; undefined for an unknown token. */
  readonly authenticate: (token: string) => Effect.Effect<Grant | undefined>
  /**
   * Calls `changed` whenever grants were revoked, until the scope closes. Its argument
   * tells whether a grant, as `authenticate` returned it, still holds.
   */
  readonly observe: (changed: (holds: (grant: Grant) => boolean) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** Undefined where the server asks for no token. */
export class Access extends Context.Reference<AccessPolicy | undefined>("rankd/server/Access", {
  defaultValue: () => undefined
}) {}

/** A client that may enter: what it may do, and the name that its token or certificate gives it. */
export interface Bearer {
  /** As the policy returned it. */
  readonly grant: Grant
  /** The only name that it may have; undefined where it may choose. */
  readonly name: string | undefined
  /** How many commands it may issue; any number where there is none. */
  readonly rate: RateLimiter | undefined
}

/** Whether both may have the same name and be in the same groups. */
export const isSameBearer = (one: Bearer, other: Bearer): boolean =>
  one.name === other.name && `${one.grant.groups}` === `${other.grant.groups}`
