/** The flags of `rankd serve`, which a bare `rankd` has, too: those of the limits come from the table in `Settings`. */
import { Duration } from "effect"
import { Flag } from "effect/cli"
import { MAX_HANDSHAKES } from "../../net/node/NodeServer.ts"
import { defaults, type Limit, type LimitName, limits, type SettingsValues } from "../../server/Settings.ts"
import { choice, host, onOff, path, port, whole } from "../flags/kinds.ts"
import { flagsOf, optional, type Row, type ValuesOf, withDefault, withVariable } from "../flags/rows.ts"

const MOST_HANDSHAKES = 100_000

const logLevels = ["all", "trace", "debug", "info", "warn", "error", "fatal", "none"] as const

/** A number as the command line takes it: durations in seconds. */
export const inUnits = (amount: number | Duration.Duration): number =>
  Duration.isDuration(amount) ? Duration.toSeconds(amount) : amount

export const flagName = (limit: LimitName): string => limit.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)

const limitOptions = (limit: LimitName) => {
  const { help, least, most, unit }: Limit = limits[limit]
  return { ...withVariable(flagName(limit)), kind: whole(inUnits(least), inUnits(most), unit), help }
}

const limitRow = (limit: LimitName): Row<number | Duration.Duration> => {
  const value = limits[limit].default
  const row = withDefault(limitOptions(limit), inUnits(value))
  return Duration.isDuration(value) ? { ...row, flag: Flag.map(row.flag, Duration.seconds) } : row
}

type FlaggedLimit = {
  [Name in LimitName]: (typeof limits)[Name] extends { readonly flag: false } ? never : Name
}[LimitName]

const limitRows = Object.fromEntries(
  Object.entries<Limit>(limits)
    .filter(([, { flag }]) => flag !== false)
    .map(([name]) => [name, limitRow(name as LimitName)])
) as { readonly [Name in FlaggedLimit]: Row<SettingsValues[Name]> }

export const rows = {
  host: withDefault(
    { ...withVariable("host"), kind: host, shown: "`127.0.0.1`", help: "Name or address to listen on" },
    "127.0.0.1"
  ),
  port: withDefault({ ...withVariable("port"), kind: port(0), help: "Port to listen on. 0: any free port" }, 5000),
  tokenFile: optional({
    ...withVariable("token-file"),
    kind: path,
    help: "Admit only clients with a token from this file. SIGHUP reloads it"
  }),
  insecure: withDefault(
    {
      ...withVariable("insecure"),
      kind: onOff,
      shown: "",
      help: "Listen on a network without tokens and without certificates"
    },
    false
  ),
  admission: withDefault(
    {
      ...withVariable("admission"),
      kind: choice(["connect", "hello"]),
      help: "When a client gets a rank. `connect`: when it connects. `hello`: when it sends `JOIN` or `Hello`"
    },
    defaults.admission
  ),
  ...limitRows,
  // Without the flag it depends on other flags: see `connections.ts`.
  maxConnections: optional({ ...limitOptions("maxConnections"), shown: `${defaults.maxConnections}` }),
  maxConnectionsPerAddress: optional({ ...limitOptions("maxConnectionsPerAddress"), shown: "`--max-connections`" }),
  tlsCert: optional({
    ...withVariable("tls-cert"),
    kind: path,
    help: "PEM file with the server's certificate. The server then speaks TLS only. Needs `--tls-key`"
  }),
  tlsKey: optional({
    ...withVariable("tls-key"),
    kind: path,
    help: "PEM file with the private key of the certificate"
  }),
  tlsCa: optional({
    ...withVariable("tls-ca"),
    kind: path,
    help: "PEM file with a CA. Every client needs a certificate from this CA that names it"
  }),
  tlsMinVersion: withDefault(
    {
      ...withVariable("tls-min-version"),
      kind: choice(["1.3", "1.2"]),
      help: "The oldest version of TLS that the server accepts: `1.3` or `1.2`"
    },
    "1.3"
  ),
  maxHandshakes: withDefault(
    {
      ...withVariable("max-handshakes"),
      kind: whole(1, MOST_HANDSHAKES),
      help: "Unfinished TLS handshakes. Beyond it, the oldest from the busiest subnet is cut off"
    },
    MAX_HANDSHAKES
  ),
  logLevel: withDefault(
    {
      ...withVariable("log-level"),
      kind: choice(logLevels),
      help: "The least severe messages to log: `all`, `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `none`"
    },
    "info"
  )
}

export const flags = flagsOf(rows)

export type Options = ValuesOf<typeof rows>
