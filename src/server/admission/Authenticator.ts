/**
 * Turns a connection into a bearer of rights: at once if the server asks for no token, or
 * else when the client shows a valid one. It owns the unauthenticated clients. They have no
 * rank and next to no verbs. If there are too many, it disconnects the oldest.
 */
import { Duration, Effect, Result, type Scope } from "effect"
import { subnetOf } from "../../net/Subnet.ts"
import type { AuthFailure } from "../events/CloseCause.ts"
import type { Events } from "../events/Events.ts"
import type { Peer } from "../Peer.ts"
import { RateLimiter } from "../RateLimiter.ts"
import type { SettingsValues } from "../Settings.ts"
import { type AccessPolicy, type Bearer, EVERYTHING, type Grant } from "./Access.ts"
import { Backoff } from "./Backoff.ts"

/** The rights of every client where the server asks for nothing: one object for all of them. */
const ANYBODY: Bearer = { grant: EVERYTHING, name: undefined, rate: undefined }

/**
 * The delay before the answer to a wrong token. It counts per subnet, not per connection,
 * because a new connection is cheap. A valid token never waits: the wrong ones may come from
 * another client in the subnet. rankd's own clients wait five seconds for an answer.
 */
const WRONG_TOKENS = { first: 100, longest: 4000, forgottenAfter: 60_000 }

export interface AuthenticatorOptions {
  readonly access: AccessPolicy | undefined
  readonly settings: Pick<SettingsValues, "maxUnauthenticated" | "rate">
  readonly events: Events
  /** Milliseconds of the monotonic clock. */
  readonly now: () => number
}

export class Authenticator {
  readonly #options: AuthenticatorOptions
  readonly #backoff = new Backoff(WRONG_TOKENS)
  /** The name in the certificate of each unauthenticated client, in order of arrival. */
  readonly #unauthenticated = new Map<Peer, string | undefined>()
  /** The grants of the clients that have shown a token. */
  readonly #grants = new Map<Peer, Grant>()

  constructor(options: AuthenticatorOptions) {
    this.#options = options
  }

  /** The rights of a client that has connected; undefined if it needs a token first. */
  greet(peer: Peer, certificateName: string | undefined): Bearer | undefined {
    const { access, settings } = this.#options
    if (access === undefined) return this.#bearer(EVERYTHING, certificateName)
    this.#unauthenticated.set(peer, certificateName)
    const [oldest] = this.#unauthenticated.keys()
    if (this.#unauthenticated.size > settings.maxUnauthenticated && oldest !== undefined) {
      this.#unauthenticated.delete(oldest)
      oldest.disconnect("too many unauthenticated")
    }
    return undefined
  }

  /** The rights of a client that shows this token. A failure comes after a delay. */
  authenticate(peer: Peer, token: string): Effect.Effect<Result.Result<Bearer, AuthFailure>> {
    const { access } = this.#options
    if (access === undefined) return Effect.succeed(Result.succeed(this.#bearer(EVERYTHING, undefined)))
    return Effect.flatMap(access.authenticate(token), (grant) => {
      const bearer = this.#judge(peer, grant)
      return Result.isSuccess(bearer) || bearer.failure === "authenticated too late"
        ? Effect.succeed(bearer)
        : Effect.delay(Effect.succeed(bearer), this.#delay(peer, bearer.failure))
    })
  }

  /** Forgets a client whose session has ended. */
  forget(peer: Peer): void {
    this.#unauthenticated.delete(peer)
    this.#grants.delete(peer)
  }

  /**
   * Disconnects clients when their grants are revoked, until the scope closes. It calls
   * `alsoRevoke` when all of them are leaving, so that none of them is promoted first.
   */
  watchRevocations(alsoRevoke: (holds: (grant: Grant) => boolean) => void): Effect.Effect<void, never, Scope.Scope> {
    return (
      this.#options.access?.observe((holds) => {
        for (const [peer, grant] of this.#grants) if (!holds(grant)) peer.disconnect("token revoked")
        alsoRevoke(holds)
      }) ?? Effect.void
    )
  }

  #judge(peer: Peer, grant: Grant | undefined): Result.Result<Bearer, AuthFailure> {
    // Meanwhile the server has closed it, as the oldest of too many.
    if (!this.#unauthenticated.has(peer)) return Result.fail("authenticated too late")
    if (grant === undefined) return Result.fail("wrong token")
    const certificateName = this.#unauthenticated.get(peer)
    if (grant.name !== undefined && certificateName !== undefined && grant.name !== certificateName) {
      return Result.fail("token for another name")
    }
    this.#unauthenticated.delete(peer)
    this.#grants.set(peer, grant)
    return Result.succeed(this.#bearer(grant, certificateName ?? grant.name))
  }

  #bearer(grant: Grant, name: string | undefined): Bearer {
    const { rate } = this.#options.settings
    if (grant === EVERYTHING && name === undefined && rate === 0) return ANYBODY
    return { grant, name, rate: rate > 0 ? new RateLimiter(rate) : undefined }
  }

  #delay({ address }: Peer, failure: AuthFailure): Duration.Duration {
    const { events, now } = this.#options
    events.authFailed(address, failure)
    const [subnet, at] = [subnetOf(address), now()]
    const delay = this.#backoff.delay(subnet, at)
    this.#backoff.count(subnet, at)
    return Duration.millis(delay)
  }
}
