/**
 * The access policy: which clients the server admits, and what they may do. By default every
 * client may do everything. If an app provides an `Access`, a client has no rank and next to
 * no verbs until it shows a token that the policy accepts.
 */
import { Context, type Effect, type Scope } from "effect"
import type { RateLimiter } from "../RateLimiter.ts"

/** The rights of a client. */
export interface Grant {
  /** The only name that the client may have; by default any. */
  readonly name?: string
  /**
   * The groups that the client may be in; by default any. A client that asks for no group gets
   * `default` if that is one of them, or else the first.
   */
  readonly groups?: ReadonlyArray<string>
  /** Whether it may issue commands. */
  readonly issue: boolean
  /** Whether it may execute commands. */
  readonly execute: boolean
}

export const EVERYTHING: Grant = { issue: true, execute: true }

/** Decides which tokens the server accepts. */
export interface AccessPolicy {
  /** The rights of the token's bearer; undefined if the token is wrong. */
  readonly authenticate: (token: string) => Effect.Effect<Grant | undefined>
  /**
   * Calls `changed` after each change of the grants, until the scope closes. `holds` says
   * whether a grant, the same object that `authenticate` returned, still holds.
   */
  readonly observe: (changed: (holds: (grant: Grant) => boolean) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** The access policy of the server; undefined, the default, if it asks for no token. */
export class Access extends Context.Reference<AccessPolicy | undefined>("rankd/server/Access", {
  defaultValue: () => undefined
}) {}

/** An authenticated client: its rights, and the name in its token or certificate. */
export interface Bearer {
  /** The object that the policy returned. */
  readonly grant: Grant
  /** The only name that the client may have; undefined if it may choose. */
  readonly name: string | undefined
  /** Limits its commands; undefined if there is no limit. */
  readonly rate: RateLimiter | undefined
}

/** Whether two bearers may have the same name and be in the same groups. */
export const isSameBearer = (one: Bearer, other: Bearer): boolean =>
  one.name === other.name && `${one.grant.groups}` === `${other.grant.groups}`
