/** Flags of `rankd serve` that do not go together. Bounds of a single flag are its own. */
import { Effect, Option } from "effect"
import { conflict, defaults, type LimitName } from "../../server/Settings.ts"
import { invalid } from "../flags/rows.ts"
import { flagName, inUnits, type Options } from "./flags.ts"

const incompleteTls = ({ tlsCa, tlsCert, tlsKey }: Options): string | undefined => {
  if (Option.isSome(tlsCert) && Option.isNone(tlsKey))
    return "--tls-cert needs --tls-key, the private key of the certificate"
  if (Option.isSome(tlsKey) && Option.isNone(tlsCert)) return "--tls-key needs --tls-cert, the certificate of the key"
  if (Option.isSome(tlsCa) && Option.isNone(tlsCert)) return "--tls-ca needs --tls-cert and --tls-key, the server's own"
  return undefined
}

const conflictMessage = (options: Options): string | undefined => {
  // These depend on the limit of open files, and on no other flag.
  const { maxConnections, maxConnectionsPerAddress } = defaults
  const values = { ...defaults, ...options, maxConnections, maxConnectionsPerAddress }
  const found = conflict(values)
  if (found === undefined) return undefined
  const { least, limit, other, times } = found
  const flag = (name: LimitName) => `--${flagName(name)}`
  const bound = times === 1 ? flag(other) : `${times} times ${flag(other)}`
  return `${flag(limit)} ${inUnits(values[limit])}: less than ${bound}. Give ${inUnits(least)} or more`
}

export const check = (options: Options) => {
  const message = incompleteTls(options) ?? conflictMessage(options)
  return message === undefined ? Effect.void : Effect.fail(invalid(message))
}
