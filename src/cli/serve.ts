/** `rankd serve`: the server as a process, with its flags, its first words and its warnings. */
import { Config, Console, Duration, Effect, Layer, References, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { NetAddress } from "effect/net"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import type { SocketServer } from "effect/socket"
import * as NodeServer from "../server/NodeServer.ts"
import { RankServer } from "../server/Server.ts"
import {
  defaults,
  MIN_LINE_BYTES,
  MIN_PENDING_BYTES,
  MIN_PENDING_LINES,
  Settings,
  type SettingsValues
} from "../server/Settings.ts"
import { invalid, whole } from "./flags.ts"

/** Descriptors that the process needs beside those of its clients. */
const OWN_DESCRIPTORS = 32

/** The largest limits that are taken: beyond them a typing error is likelier than a need. */
const MAX_CLIENTS = 1_000_000
const MAX_LINE_BYTES = 16_777_216
const MAX_PENDING_BYTES = 1_073_741_824
const MAX_OPEN_COMMANDS = 1_000_000
const MAX_TIMEOUT_SECONDS = 604_800

const atLeast = (minimum: number, name: string, variable: string) =>
  whole(name, variable, minimum, MAX_TIMEOUT_SECONDS).pipe(Flag.map((count: number) => Duration.seconds(count)))

const seconds = (name: string, variable: string) => atLeast(1, name, variable)

const admissions = ["connect", "hello"] as const

const logLevels = ["all", "trace", "debug", "info", "warn", "error", "fatal", "none"] as const
type LogLevel = (typeof logLevels)[number]

/** `serve` has these, and so has a bare `rankd`. */
export const flags = {
  host: Flag.String("host").pipe(
    Flag.withSchema(Schema.NonEmptyString),
    Flag.withFallbackConfig(Config.String("RANKD_HOST")),
    Flag.withDefault("127.0.0.1"),
    Flag.withDescription("Name or address to listen on (RANKD_HOST; 127.0.0.1)")
  ),
  port: whole("port", "RANKD_PORT", 0, 65_535).pipe(
    Flag.withDefault(5000),
    Flag.withDescription("Port to listen on, 0 for a free one (RANKD_PORT; 5000)")
  ),
  maxClients: whole("max-clients", "RANKD_MAX_CLIENTS", 1, MAX_CLIENTS).pipe(
    Flag.withDefault(defaults.maxClients),
    Flag.withDescription(`Clients ranked at most, in each group (RANKD_MAX_CLIENTS; ${defaults.maxClients})`)
  ),
  maxLine: whole("max-line", "RANKD_MAX_LINE", MIN_LINE_BYTES, MAX_LINE_BYTES).pipe(
    Flag.withDefault(defaults.maxLine),
    Flag.withDescription(`Bytes of a line at most, its end included (RANKD_MAX_LINE; ${defaults.maxLine})`)
  ),
  maxPending: whole("max-pending", "RANKD_MAX_PENDING", MIN_PENDING_BYTES, MAX_PENDING_BYTES).pipe(
    Flag.withDefault(defaults.maxPending),
    Flag.withDescription(
      `Bytes waiting for one client at most, before it is a slow consumer (RANKD_MAX_PENDING; ${defaults.maxPending})`
    )
  ),
  admission: Flag.Literals("admission", admissions).pipe(
    Flag.withFallbackConfig(Config.Literals(admissions, "RANKD_ADMISSION")),
    Flag.withDefault(defaults.admission),
    Flag.withDescription(
      `When a client is ranked: when it connects, or when it says JOIN or Hello (RANKD_ADMISSION; ${defaults.admission})`
    )
  ),
  commandTimeout: seconds("command-timeout", "RANKD_COMMAND_TIMEOUT").pipe(
    Flag.withDefault(defaults.commandTimeout),
    Flag.withDescription(
      "Seconds that a tracked command may take, unless it says otherwise (RANKD_COMMAND_TIMEOUT; 60)"
    )
  ),
  maxCommandTimeout: seconds("max-command-timeout", "RANKD_MAX_COMMAND_TIMEOUT").pipe(
    Flag.withDefault(defaults.maxCommandTimeout),
    Flag.withDescription("Seconds that it may say at most (RANKD_MAX_COMMAND_TIMEOUT; 3600)")
  ),
  maxOpenCommands: whole("max-open-commands", "RANKD_MAX_OPEN_COMMANDS", 1, MAX_OPEN_COMMANDS).pipe(
    Flag.withDefault(defaults.maxOpenCommands),
    Flag.withDescription(
      `Tracked commands of one client open at the same time, at most (RANKD_MAX_OPEN_COMMANDS; ${defaults.maxOpenCommands})`
    )
  ),
  grace: atLeast(0, "grace", "RANKD_GRACE").pipe(
    Flag.withDefault(defaults.grace),
    Flag.withDescription("Seconds that the place of a member is held whose connection is lost (RANKD_GRACE; 0)")
  ),
  drain: atLeast(0, "drain", "RANKD_DRAIN").pipe(
    Flag.withDefault(defaults.drain),
    Flag.withDescription("Seconds that open commands have to end when the server is to stop (RANKD_DRAIN; 10)")
  ),
  logLevel: Flag.Literals("log-level", logLevels).pipe(
    Flag.withFallbackConfig(Config.Literals(logLevels, "RANKD_LOG_LEVEL")),
    Flag.withDefault("info" as LogLevel),
    Flag.withDescription("Least severity that is logged, to standard error (RANKD_LOG_LEVEL; info)")
  )
}

interface Options
  extends Pick<
    SettingsValues,
    | "maxClients"
    | "maxLine"
    | "maxPending"
    | "admission"
    | "commandTimeout"
    | "maxCommandTimeout"
    | "maxOpenCommands"
    | "grace"
    | "drain"
  > {
  readonly host: string
  readonly port: number
  readonly logLevel: LogLevel
}

/** The server could not start. `message` says what to do. */
export class StartError extends Schema.TaggedError<StartError>()("StartError", { message: Schema.String }) {
  /** EX_UNAVAILABLE of sysexits.h. */
  override readonly [Runtime.errorExitCode] = 69
  override readonly [Runtime.errorReported] = false
}

/** Why listening failed, and what to do. */
export const startError = (options: Pick<Options, "host" | "port">) => (error: SocketServer.SocketServerError) => {
  const { host, port } = options
  const { code, message } = error.reason.cause as NodeJS.ErrnoException
  const advice: Record<string, string> = {
    EADDRINUSE: `port ${port} is in use. Stop what listens there, or choose another with --port (0 takes a free one)`,
    EACCES: `port ${port} may not be bound without privileges. Choose one above 1023 with --port`,
    EADDRNOTAVAIL: `${host} is not an address of this machine. Choose one that is with --host, or 0.0.0.0 for all`,
    ENOTFOUND: `${host} does not resolve. Give a name that does, or an address, with --host`,
    EAI_AGAIN: `${host} does not resolve now: name service failed. Try again, or give an address with --host`
  }
  return new StartError({
    message: `cannot listen on ${NodeServer.hostInUrl(host)}:${port}: ${advice[code ?? ""] ?? message}`
  })
}

const severity = (level: LogLevel) => (level.charAt(0).toUpperCase() + level.slice(1)) as Capitalize<LogLevel>

const warnOfDescriptors = Effect.fnUntraced(function* (maxClients: number) {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const limit = Number(yield* spawner.string(ChildProcess.make("sh", ["-c", "ulimit -n"])))
  const needed = maxClients + OWN_DESCRIPTORS
  if (limit < needed) {
    yield* Effect.logWarning(
      `the limit of open files (ulimit -n) is ${limit}, too low for --max-clients ${maxClients}, which needs ${needed}: ` +
        "raise the one or lower the other"
    )
  }
})

/** Limits that only make sense beside others. */
const check = Effect.fnUntraced(function* (options: Options) {
  const { commandTimeout, maxCommandTimeout, maxLine, maxPending } = options
  const minPending = MIN_PENDING_LINES * maxLine
  if (maxPending < minPending) {
    const expected = `at least ${MIN_PENDING_LINES} times --max-line, ${minPending} or more`
    return yield* invalid("serve", "max-pending", `${maxPending}`, expected)
  }
  if (Duration.isGreaterThan(commandTimeout, maxCommandTimeout)) {
    const expected = `at most --max-command-timeout, ${Duration.toSeconds(maxCommandTimeout)}`
    return yield* invalid("serve", "command-timeout", `${Duration.toSeconds(commandTimeout)}`, expected)
  }
})

const serve = Effect.fnUntraced(
  function* (options: Options) {
    const { address } = yield* RankServer
    const { host, port } = NetAddress.isInetAddress(address)
      ? { host: String(address.address), port: address.port }
      : options
    yield* Console.log(`rankd listening on ${NodeServer.hostInUrl(host)}:${port}`)
    const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host
    yield* Console.error(`Try it: nc ${reachable} ${port}, in two terminals, and type HELP. Ctrl-C stops the server.`)
    // Without a shell there is nobody to ask, as on Windows, and nothing to warn of.
    yield* Effect.ignore(warnOfDescriptors(options.maxClients))
    return yield* Effect.never
  },
  (effect, options) =>
    Effect.provide(
      effect,
      RankServer.layer.pipe(
        Layer.provide(NodeServer.layer(options)),
        Layer.provide(Settings.layer(options)),
        Layer.provideMerge(Layer.succeed(References.MinimumLogLevel, severity(options.logLevel)))
      )
    ).pipe(Effect.catchTag("SocketServerError", (error) => Effect.fail(startError(options)(error))))
)

export const run = (options: Options) => Effect.andThen(check(options), serve(options))

export const examples = [
  { command: "rankd", description: "Listen on 127.0.0.1:5000 for at most 200 clients" },
  { command: "rankd serve --host 0.0.0.0 --port 7000 --max-clients 5000", description: "Listen for a network" },
  { command: "RANKD_PORT=0 rankd --log-level warn", description: "Take a free port; log only what is wrong" }
]

export const command = Command.make("serve", flags, run).pipe(
  Command.withDescription("Rank the clients that connect and pass commands down (what a bare rankd does, too)"),
  Command.withExamples(examples)
)
