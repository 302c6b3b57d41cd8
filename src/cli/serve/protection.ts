/** What keeps strangers out: TLS, client certificates and tokens. A server on a network starts with one of them, or with --insecure. */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Effect, Option } from "effect"
import type { TlsOptions } from "../../net/node/NodeServer.ts"
import * as Tokens from "../../server/admission/Tokens.ts"
import { pathError } from "../flags/pathError.ts"
import { Variables } from "../flags/rows.ts"
import type { Options } from "./flags.ts"
import { StartError, tlsAdvice } from "./StartError.ts"

const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127(?:\.[0-9]{1,3}){3}$/.test(host)

/** Fails where any stranger could connect and command others. */
export const requireProtection = Effect.fnUntraced(function* ({ host, insecure, tlsCa, tokenFile }: Options) {
  if (isLoopback(host) || insecure || Option.isSome(tokenFile) || Option.isSome(tlsCa)) return
  const given = (yield* Variables).get("host")?.withValue ?? `--host ${host}`
  return yield* new StartError({
    message:
      `with ${given}, anyone who reaches the port could connect and command others. Require tokens with --token-file ` +
      "(rankd token makes one) or certificates with --tls-ca, or allow everyone with --insecure"
  })
})

/** Fails where a file of a flag or a variable does not exist. */
export const requireFiles = Effect.fnUntraced(function* ({ tlsCa, tlsCert, tlsKey, tokenFile }: Options) {
  const variables = yield* Variables
  for (const [flag, file, advice] of [
    ["token-file", tokenFile, "rankd token makes the lines of one"],
    ["tls-cert", tlsCert, tlsAdvice.cert],
    ["tls-key", tlsKey, tlsAdvice.key],
    ["tls-ca", tlsCa, tlsAdvice.ca]
  ] as const) {
    if (Option.isNone(file)) continue
    const error = yield* pathError(variables.get(flag)?.name ?? `--${flag}`, file.value, "File")
    if (error !== undefined) return yield* new StartError({ message: `${error}. ${advice}` })
  }
})

/** The TLS that the flags ask for, if they do. */
export const tlsOf = ({ maxHandshakes, tlsCa, tlsCert, tlsKey, tlsMinVersion }: Options): TlsOptions | undefined =>
  Option.isSome(tlsCert) && Option.isSome(tlsKey)
    ? {
        cert: tlsCert.value,
        key: tlsKey.value,
        ca: Option.getOrUndefined(tlsCa),
        minVersion: `TLSv${tlsMinVersion}`,
        maxHandshakes
      }
    : undefined

/** The tokens of the file; undefined without one, and then everyone who reaches the port may connect. */
export const tokensOf = Effect.fnUntraced(function* ({ tokenFile }: Options) {
  if (Option.isNone(tokenFile)) return undefined
  const variable = (yield* Variables).get("token-file")
  return yield* Tokens.make(tokenFile.value).pipe(
    Effect.provide(NodeCrypto.layerDigest),
    Effect.mapError(({ message }) => new StartError({ message: variable ? `${variable.name}: ${message}` : message }))
  )
})
