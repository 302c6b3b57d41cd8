/**
 * The settings of a server. It owns the table of limits, with one row for each limit. The type of the settings, the flags,
 * the environment variables, `--help`, the table in the docs and the checks all come from this table. It does not read
 * flags (the command line does), and does not enforce the limits (the part of the server that a limit bounds does).
 * An app that embeds the server provides its own settings with `Settings.layer`.
 */
import { Context, Duration, Layer } from "effect"
import { MIN_LINE_BYTES } from "../protocol/Lines.ts"

/** The value of a limit: a duration, or a number of bytes or things. */
type Amount = number | Duration.Duration

/** One row of the table. On the command line a duration is a whole number of seconds. */
export interface Limit<Name = unknown> {
  readonly default: Amount
  /** The bounds of the flag. A larger value is more likely a typing error than a need. */
  readonly least: Amount
  readonly most: Amount
  /** The limit must be at least `times` times another limit. */
  readonly atLeast?: { readonly times: number; readonly limit: Name }
  readonly unit: "seconds" | "bytes" | "number"
  /** `false` if only an app that embeds the server can set it. */
  readonly flag?: false
  /** The meaning, for an operator. Code is in backticks. */
  readonly help: string
}

/** Checks that `atLeast` names a row of the same table. */
const table = <const Rows extends { readonly [Name in keyof Rows]: Limit<keyof Rows> }>(rows: Rows) => rows

const WEEK = Duration.weeks(1)

/** The server's longest answer, `TARGETS`, fits. */
const LEAST_PENDING = 65_536

export const limits = table({
  maxClients: {
    default: 200,
    least: 1,
    most: 1_000_000,
    unit: "number",
    help: "Members per group. The next client gets `server full`"
  },
  maxLine: {
    default: 65_536,
    // Every verb fits, with the longest name.
    least: MIN_LINE_BYTES,
    most: 16_777_216,
    unit: "bytes",
    help: "Bytes per line, including its end"
  },
  // When half of it waits, issuers wait, too.
  maxPending: {
    default: 1_048_576,
    least: LEAST_PENDING,
    most: 1_073_741_824,
    // A client with one or two waiting lines is never a slow consumer.
    atLeast: { times: 4, limit: "maxLine" },
    unit: "bytes",
    help: "Bytes that may wait for one client. A client that exceeds it is disconnected as a `slow consumer`"
  },
  maxTotalPending: {
    default: 268_435_456,
    least: LEAST_PENDING,
    most: 1_099_511_627_776,
    atLeast: { times: 1, limit: "maxPending" },
    unit: "bytes",
    help: "Bytes that may wait for all clients together. Beyond it, the client with the most waiting bytes is disconnected as a `slow consumer`"
  },
  stallTimeout: {
    default: Duration.seconds(10),
    least: Duration.seconds(1),
    most: WEEK,
    unit: "seconds",
    help: "Seconds that a client may take to read a piece of what waits for it. Then it is disconnected as a `slow consumer`"
  },
  // Connections that the server is refusing or closing count, too.
  maxConnections: {
    default: 10_000,
    least: 1,
    most: 1_000_000,
    unit: "number",
    help: "Connections, ranked or not. `--max-clients` if that is larger; fewer if the limit of open files is lower"
  },
  maxConnectionsPerAddress: {
    default: 10_000,
    least: 1,
    most: 1_000_000,
    unit: "number",
    help: "Connections from one IPv4 address or one IPv6 subnet (64 bits)"
  },
  rate: {
    default: 0,
    least: 0,
    most: 10_000_000,
    unit: "number",
    help: "Commands per second per client, with a burst of the same size. `NAME`, `JOIN` and `YIELD` count, and so does `Hello` after the first. 0: no limit"
  },
  authTimeout: {
    default: Duration.seconds(2),
    least: Duration.seconds(1),
    most: WEEK,
    unit: "seconds",
    help: "Seconds that a new client has to show its token; also to get a seat, or to show its resume token, where it was refused a seat"
  },
  maxUnauthenticated: {
    default: 256,
    least: 1,
    most: 1_000_000,
    unit: "number",
    help: "Connections that have not shown a token yet. Beyond it, the oldest of them is disconnected"
  },
  commandTimeout: {
    default: Duration.seconds(60),
    least: Duration.seconds(1),
    most: WEEK,
    unit: "seconds",
    help: "Seconds that a tracked command may take, unless it says otherwise"
  },
  maxCommandTimeout: {
    default: Duration.hours(1),
    least: Duration.seconds(1),
    most: WEEK,
    atLeast: { times: 1, limit: "commandTimeout" },
    unit: "seconds",
    help: "The longest timeout that a tracked command may ask for, in seconds"
  },
  maxOpenCommands: {
    default: 1024,
    least: 1,
    most: 1_000_000,
    unit: "number",
    help: "Open tracked commands per client"
  },
  // Targets of commands whose issuers have left count, too. Each takes about 450 bytes.
  maxOpenTargets: {
    default: 1_000_000,
    least: 1,
    most: 100_000_000,
    unit: "number",
    help: "Targets that have not ended, of all tracked commands together"
  },
  grace: {
    default: Duration.zero,
    least: Duration.zero,
    most: WEEK,
    unit: "seconds",
    help: "How long a disconnected program may come back and keep its rank, in seconds. 0: promote the next at once, or when the lease of a leader has ended"
  },
  // Long enough for the default heartbeat of leaders, 2 seconds.
  settle: {
    default: Duration.seconds(5),
    least: Duration.zero,
    most: WEEK,
    unit: "seconds",
    help: "Seconds after the server's start in which a new leader waits, because the leader before the restart may still work. A leader's heartbeat is at most 1/2.5 of it. 0: no wait and no limit, so two may lead after a restart, and a lost leader blocks rank 0 for 2.5 of whatever heartbeat it chose. Before you lower it, shorten the heartbeats and restart once with the old value, or two may lead"
  },
  // With `linger` and the last second of the output it stays clear of the ten seconds after which container runtimes kill.
  drain: {
    default: Duration.seconds(5),
    least: Duration.zero,
    most: WEEK,
    unit: "seconds",
    help: "Seconds that open tracked commands have to end when the server stops"
  },
  // `drain` and `linger` together bound the time that the server takes to stop.
  linger: {
    default: Duration.seconds(2),
    least: Duration.zero,
    most: WEEK,
    unit: "seconds",
    flag: false,
    help: "How long a client that is being disconnected has to read its last lines"
  },
  // The protocol promises less than a second.
  maxHold: {
    default: Duration.millis(500),
    least: Duration.zero,
    most: Duration.millis(999),
    unit: "seconds",
    flag: false,
    help: "How long an issuer is held back for a target that does not read"
  }
})

export type LimitName = keyof typeof limits

type Limits = {
  readonly [Name in LimitName]: (typeof limits)[Name]["default"] extends number ? number : Duration.Duration
}

/** The settings of a server: every limit of the table, and when clients are admitted. Durations are `Duration`s. */
export interface SettingsValues extends Limits {
  /** When a client gets a rank: when it connects, or when it sends `JOIN` or `Hello`. */
  readonly admission: "connect" | "hello"
}

/** Settings as an app writes them: `{ grace: "5 seconds" }`. */
export type SettingsInput = {
  readonly [Name in keyof SettingsValues]?: SettingsValues[Name] extends Duration.Duration
    ? Duration.Input
    : SettingsValues[Name]
}

const names = Object.keys(limits) as ReadonlyArray<LimitName>

export const defaults: SettingsValues = {
  ...(Object.fromEntries(names.map((name) => [name, limits[name].default])) as unknown as Limits),
  admission: "connect"
}

/** A limit that is too small for another limit. `least` is the smallest valid value: `times` times the other one. */
export interface Conflict {
  readonly limit: LimitName
  readonly least: Amount
  readonly times: number
  readonly other: LimitName
}

const size = (amount: Amount): number => (Duration.isDuration(amount) ? Duration.toMillis(amount) : amount)

/** The first limit that is too small for another limit; undefined if there is none. */
export const conflict = (values: Limits): Conflict | undefined => {
  for (const limit of names) {
    const { atLeast }: Limit<LimitName> = limits[limit]
    if (atLeast === undefined) continue
    const { limit: other, times } = atLeast
    const bound = values[other]
    if (size(values[limit]) >= size(bound) * times) continue
    return { limit, least: Duration.isDuration(bound) ? Duration.times(bound, times) : bound * times, times, other }
  }
  return undefined
}

const isTime = (name: string): boolean => name in limits && Duration.isDuration(limits[name as LimitName].default)

/** The settings of the server, as a reference. Without `Settings.layer` every setting has its default. */
export class Settings extends Context.Reference<SettingsValues>("rankd/server/Settings", {
  defaultValue: () => defaults
}) {
  /** Settings with these values, and defaults for the rest. Durations are `Duration.Input`, such as `"5 seconds"`. */
  static readonly layer = (values: SettingsInput): Layer.Layer<never> =>
    Layer.sync(Settings, () => ({
      ...defaults,
      ...Object.fromEntries(
        Object.entries(values).map(([name, value]) => [
          name,
          isTime(name) ? Duration.fromInputUnsafe(value as Duration.Input) : value
        ])
      )
    }))
}
