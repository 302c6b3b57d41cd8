/**
 * Resume tokens, with which disconnected members come back. It owns the valid tokens, and which
 * client each one resumes; `Reservations` owns the seats. The server keeps only digests.
 *
 * Invariant: a client has at most one valid token.
 */
import { Context, Effect, Latch, Layer, type Scope } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"
import type { Peer } from "../Peer.ts"
import { wakeLater } from "../wakeLater.ts"
import type { Bearer } from "./Access.ts"

/** The number of random bytes in a token. Nobody can guess 192 bits, so a fast digest is enough. */
const TOKEN_BYTES = 24

export interface ResumeToken {
  readonly token: string
  readonly digest: string
}

/** A valid token: the client that it resumes, and the rights of this client. */
export interface Issued {
  readonly digest: string
  peer: Peer
  bearer: Bearer
  /** Whether another connection has shown the token: then the present one counts as lost, whatever the reason. */
  resuming: boolean
  /** Opens when another connection may take over the seat, and when the token is not valid any more. */
  readonly free: Latch.Latch
}

export class ResumeTokens {
  readonly digestOf: (token: string) => Effect.Effect<string>
  readonly #byDigest = new Map<string, Issued>()
  readonly #byPeer = new Map<Peer, Issued>()

  constructor(digestOf: (token: string) => Effect.Effect<string>) {
    this.digestOf = digestOf
  }

  /** A new token, not valid until `issue`. */
  readonly mint: Effect.Effect<ResumeToken> = Effect.suspend(() => {
    const token = Base64Url.encode(SecureRandom.randomBytesUnsafe(TOKEN_BYTES))
    return Effect.map(this.digestOf(token), (digest) => ({ token, digest }))
  })

  /** Makes this token the one that resumes the peer; an older one is not valid any more. */
  issue(peer: Peer, bearer: Bearer, { digest }: ResumeToken): void {
    this.forget(peer)
    const issued: Issued = { digest, peer, bearer, resuming: false, free: Latch.makeUnsafe(false) }
    this.#byDigest.set(digest, issued)
    this.#byPeer.set(peer, issued)
  }

  /** Whether any token is valid. */
  any(): boolean {
    return this.#byDigest.size > 0
  }

  withDigest(digest: string): Issued | undefined {
    return this.#byDigest.get(digest)
  }

  of(peer: Peer): Issued | undefined {
    return this.#byPeer.get(peer)
  }

  /** From now on the token resumes this peer, whose own token is not valid any more. */
  pass(issued: Issued, peer: Peer, bearer: Bearer): void {
    this.forget(peer)
    this.#byPeer.delete(issued.peer)
    this.#byPeer.set(peer, issued)
    issued.peer = peer
    issued.bearer = bearer
    issued.resuming = false
    issued.free.closeUnsafe()
  }

  forget(peer: Peer): void {
    const issued = this.#byPeer.get(peer)
    if (issued === undefined) return
    this.#byDigest.delete(issued.digest)
    this.#byPeer.delete(peer)
    wakeLater(() => issued.free.openUnsafe())
  }
}

export const make: Effect.Effect<ResumeTokens, never, Scope.Scope> = Effect.gen(function* () {
  const { digest } = Context.get(yield* Layer.build(Digest.layerWebCrypto), Digest.Digest)
  return new ResumeTokens((token) =>
    Effect.map(digest(Digest.sha256, new TextEncoder().encode(token)), Base64Url.encode)
  )
})
