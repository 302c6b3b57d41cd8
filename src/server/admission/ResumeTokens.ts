/** Resume tokens, with which disconnected members come back. The server keeps only their digests. */
import { Context, Effect, Layer, type Scope } from "effect"
import { Digest, SecureRandom } from "effect/crypto"
import { Base64Url } from "effect/encoding"

/** The number of random bytes in a token. Nobody can guess 192 bits, so a fast digest is enough. */
const TOKEN_BYTES = 24

export interface ResumeToken {
  readonly token: string
  readonly digest: string
}

export interface ResumeTokens {
  readonly mint: Effect.Effect<ResumeToken>
  readonly digestOf: (token: string) => Effect.Effect<string>
}

export const make: Effect.Effect<ResumeTokens, never, Scope.Scope> = Effect.gen(function* () {
  const { digest } = Context.get(yield* Layer.build(Digest.layerWebCrypto), Digest.Digest)
  const digestOf = (token: string) =>
    Effect.map(digest(Digest.sha256, new TextEncoder().encode(token)), Base64Url.encode)
  return {
    digestOf,
    mint: Effect.suspend(() => {
      const token = Base64Url.encode(SecureRandom.randomBytesUnsafe(TOKEN_BYTES))
      return Effect.map(digestOf(token), (digest) => ({ token, digest }))
    })
  }
})
