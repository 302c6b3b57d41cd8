/** Flags of `rankd serve` that do not go together. Bounds of a single flag are its own. */
import { Effect, Option } from "effect"
import { conflict, defaults } from "../../server/Settings.ts"
import type { Source } from "../flags/kinds.ts"
import { invalid, Variables } from "../flags/rows.ts"
import { flagName, inUnits, type Options } from "./flags.ts"

const incompleteTls = ({ tlsCa, tlsCert, tlsKey }: Options, given: (flag: string) => string): string | undefined => {
  if (Option.isSome(tlsCert) && Option.isNone(tlsKey))
    return `${given("tls-cert")} needs --tls-key, the private key of the certificate`
  if (Option.isSome(tlsKey) && Option.isNone(tlsCert))
    return `${given("tls-key")} needs --tls-cert, the certificate of the key`
  if (Option.isSome(tlsCa) && Option.isNone(tlsCert))
    return `${given("tls-ca")} needs --tls-cert and --tls-key, the server's own`
  return undefined
}

const conflictMessage = (options: Options, variables: ReadonlyMap<string, Source>): string | undefined => {
  // These depend on the limit of open files, and on no other flag.
  const { maxConnections, maxConnectionsPerAddress } = defaults
  const values = { ...defaults, ...options, maxConnections, maxConnectionsPerAddress }
  const found = conflict(values)
  if (found === undefined) return undefined
  const { least, limit, other, times } = found
  const [name, bound] = [flagName(limit), flagName(other)]
  const given = variables.get(name)?.withValue ?? `--${name} ${inUnits(values[limit])}`
  const needed = `${times === 1 ? "" : `${times} times `}${variables.get(bound)?.withValue ?? `--${bound}`}`
  return `${given}: less than ${needed}. Give ${inUnits(least)} or more`
}

export const check = Effect.fnUntraced(function* (options: Options) {
  const variables = yield* Variables
  const given = (flag: string) => variables.get(flag)?.withValue ?? `--${flag}`
  const message = incompleteTls(options, given) ?? conflictMessage(options, variables)
  if (message !== undefined) return yield* Effect.fail(invalid(message))
})
