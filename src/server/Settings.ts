/**
 * What an operator can set: every limit of the server, its default and why it is
 * that. An app that embeds the server provides its own with `Settings.layer`.
 */
import { Context, Duration, Layer } from "effect"

export interface SettingsValues {
  /** Members that a group holds at most. A newcomer beyond them is refused as `server full`. */
  readonly maxClients: number
  /** Bytes that a line of a client has at most, LF included. */
  readonly maxLine: number
  /**
   * Bytes that may wait to be written to one client; at one more it is closed as
   * a slow consumer. Issuers are held back from half of it on.
   */
  readonly maxPending: number
  /**
   * Bytes that may wait for all clients together. Where more do, the client for which
   * most wait is closed as a slow consumer, and what waits for it is thrown away.
   */
  readonly maxTotalPending: number
  /** Connections at most, those being refused and those being closed included. */
  readonly maxConnections: number
  /** Of them, those from one IPv4 address, or one IPv6 network (64 bits). */
  readonly maxConnectionsPerAddress: number
  /** Of them, those that have yet to show a token. At one more the oldest of them is closed. */
  readonly maxUnauthenticated: number
  /** How long a client has to show its token. */
  readonly authTimeout: Duration.Duration
  /** Commands a second that one client may give, as many at once; 0 for no limit. */
  readonly rate: number
  /** How long one write to a client may wait for it to read. Then it is closed as a slow consumer. */
  readonly stallTimeout: Duration.Duration
  /** How long an issuer is held back, at most, for a target that does not read. Promised: below one second. */
  readonly maxHold: Duration.Duration
  /** When a client is ranked: when it connects, or when it asks to be (`Hello`, `JOIN`). */
  readonly admission: "connect" | "hello"
  /** How long a tracked command may take, unless it says otherwise. */
  readonly commandTimeout: Duration.Duration
  /** How long a tracked command may say that it may take. */
  readonly maxCommandTimeout: Duration.Duration
  /** Open tracked commands that one issuer has at most. */
  readonly maxOpenCommands: number
  /** How long the place of a member is held whose connection is lost. */
  readonly grace: Duration.Duration
  /** How long, when the server is to stop, the tracked commands that are open have to end. */
  readonly drain: Duration.Duration
  /**
   * Targets that have yet to end, of all open commands together, at most; those of
   * clients that have left included. One takes some 450 bytes.
   */
  readonly maxOpenTargets: number
  /** How long a client that is being closed has to take the last words. With `drain` it bounds the server's stop. */
  readonly linger: Duration.Duration
}

export const defaults: SettingsValues = {
  maxClients: 200,
  maxLine: 65_536,
  maxPending: 1_048_576,
  maxTotalPending: 268_435_456,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 10_000,
  maxUnauthenticated: 256,
  authTimeout: Duration.seconds(2),
  rate: 0,
  stallTimeout: Duration.seconds(10),
  maxHold: Duration.millis(500),
  admission: "connect",
  commandTimeout: Duration.seconds(60),
  maxCommandTimeout: Duration.hours(1),
  maxOpenCommands: 1024,
  maxOpenTargets: 1_000_000,
  grace: Duration.zero,
  drain: Duration.seconds(10),
  linger: Duration.seconds(2)
}

export class Settings extends Context.Reference<SettingsValues>("rankd/server/Settings", {
  defaultValue: () => defaults
}) {
  static readonly layer = (values: Partial<SettingsValues>): Layer.Layer<never> =>
    Layer.succeed(Settings, { ...defaults, ...values })
}

/** The smallest `maxLine`: every verb with a name of the longest kind fits. */
export const MIN_LINE_BYTES = 512

/** `maxPending` is at least so many times `maxLine`, so that a line or two never look like a slow consumer. */
export const MIN_PENDING_LINES = 4

/** The smallest `maxPending`: the longest answer of the server's own, `TARGETS`, fits. */
export const MIN_PENDING_BYTES = 65_536
