/**
 * Who may come in, and what for. By default everybody may do everything; where an
 * `Access` is provided, a client has no rank and no verb before it has shown a
 * token, or a certificate, that somebody granted something.
 */
import { Context, type Effect, type Scope } from "effect"

/** What a client may do. */
export interface Grant {
  /** The name that it has, and no other; by its own choice where there is none. */
  readonly name?: string
  /** The groups that it may be in, the first of them where it asks for none; any where there are none. */
  readonly groups?: ReadonlyArray<string>
  /** Whether it may have others execute commands. */
  readonly issue: boolean
  /** Whether others may have it execute commands. */
  readonly execute: boolean
}

/** Everything. */
export const EVERYTHING: Grant = { issue: true, execute: true }

export interface AccessPolicy {
  /** What the bearer of the token may do; undefined where nobody granted it anything. */
  readonly authenticate: (token: string) => Effect.Effect<Grant | undefined>
  /** Calls `changed` whenever grants were taken back, until the scope closes; `holds` tells those that were not. */
  readonly observe: (changed: (holds: (grant: Grant) => boolean) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** Undefined where no token is asked for. */
export class Access extends Context.Reference<AccessPolicy | undefined>("rankd/server/Access", {
  defaultValue: () => undefined
}) {}
