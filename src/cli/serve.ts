/** `rankd serve`: the server as a process, with its flags, its first words and its warnings. */
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Config, Console, Duration, Effect, Layer, Option, References, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { NetAddress } from "effect/net"
import { ChildProcess, ChildProcessSpawner } from "effect/process"
import type { SocketServer } from "effect/socket"
import * as NodeServer from "../net/node/NodeServer.ts"
import { Access } from "../server/admission/Access.ts"
import * as Tokens from "../server/admission/Tokens.ts"
import { RankServer } from "../server/Server.ts"
import {
  defaults,
  MIN_LINE_BYTES,
  MIN_PENDING_BYTES,
  MIN_PENDING_LINES,
  Settings,
  type SettingsValues
} from "../server/Settings.ts"
import { file, invalid, whole } from "./flags.ts"
import { reloadOnHangup } from "./reload.ts"

/** Descriptors that the process needs beside those of its clients. */
const OWN_DESCRIPTORS = 32

/** The largest limits that are taken: beyond them a typing error is likelier than a need. */
const MAX_CLIENTS = 1_000_000
const MAX_LINE_BYTES = 16_777_216
const MAX_PENDING_BYTES = 1_073_741_824
const MAX_OPEN_COMMANDS = 1_000_000
const MAX_OPEN_TARGETS = 100_000_000
const MAX_TIMEOUT_SECONDS = 604_800
const MAX_CONNECTIONS = 1_000_000
const MAX_TOTAL_PENDING_BYTES = 1_099_511_627_776
const MAX_RATE = 10_000_000
const MAX_HANDSHAKES = 100_000

const atLeast = (minimum: number, name: string, variable: string) =>
  whole(name, variable, minimum, MAX_TIMEOUT_SECONDS).pipe(Flag.map((count: number) => Duration.seconds(count)))

const seconds = (name: string, variable: string) => atLeast(1, name, variable)

const admissions = ["connect", "hello"] as const

const tlsVersions = ["1.3", "1.2"] as const

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
  maxTotalPending: whole(
    "max-total-pending",
    "RANKD_MAX_TOTAL_PENDING",
    MIN_PENDING_BYTES,
    MAX_TOTAL_PENDING_BYTES
  ).pipe(
    Flag.withDefault(defaults.maxTotalPending),
    Flag.withDescription(
      `Bytes waiting for all clients together; beyond, the slowest is closed (RANKD_MAX_TOTAL_PENDING; ${defaults.maxTotalPending})`
    )
  ),
  stallTimeout: seconds("stall-timeout", "RANKD_STALL_TIMEOUT").pipe(
    Flag.withDefault(defaults.stallTimeout),
    Flag.withDescription("Seconds that a client may take to read a piece of what waits (RANKD_STALL_TIMEOUT; 10)")
  ),
  maxConnections: whole("max-connections", "RANKD_MAX_CONNECTIONS", 1, MAX_CONNECTIONS).pipe(
    Flag.optional,
    Flag.withDescription(
      `Connections at most, ranked or not (RANKD_MAX_CONNECTIONS; ${defaults.maxConnections}, or --max-clients if more)`
    )
  ),
  maxConnectionsPerAddress: whole(
    "max-connections-per-address",
    "RANKD_MAX_CONNECTIONS_PER_ADDRESS",
    1,
    MAX_CONNECTIONS
  ).pipe(
    Flag.optional,
    Flag.withDescription(
      "Connections from one address, or IPv6 network, at most (RANKD_MAX_CONNECTIONS_PER_ADDRESS; as --max-connections)"
    )
  ),
  rate: whole("rate", "RANKD_RATE", 0, MAX_RATE).pipe(
    Flag.withDefault(defaults.rate),
    Flag.withDescription("Commands a second that one client may give, 0 for any number (RANKD_RATE; 0)")
  ),
  tokenFile: Flag.String("token-file").pipe(
    Flag.withFallbackConfig(Config.String("RANKD_TOKEN_FILE")),
    Flag.optional,
    Flag.withDescription("Let in only who shows a token of this file; read anew at SIGHUP (RANKD_TOKEN_FILE)")
  ),
  authTimeout: seconds("auth-timeout", "RANKD_AUTH_TIMEOUT").pipe(
    Flag.withDefault(defaults.authTimeout),
    Flag.withDescription("Seconds that a client has to show its token (RANKD_AUTH_TIMEOUT; 2)")
  ),
  maxUnauthenticated: whole("max-unauthenticated", "RANKD_MAX_UNAUTHENTICATED", 1, MAX_CONNECTIONS).pipe(
    Flag.withDefault(defaults.maxUnauthenticated),
    Flag.withDescription(
      `Clients that have yet to show one, at most; then the oldest goes (RANKD_MAX_UNAUTHENTICATED; ${defaults.maxUnauthenticated})`
    )
  ),
  insecure: Flag.Boolean("insecure").pipe(
    Flag.withFallbackConfig(Config.Boolean("RANKD_INSECURE")),
    Flag.withDefault(false),
    Flag.withDescription("Listen for a network though nobody has to show anything (RANKD_INSECURE)")
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
  maxOpenTargets: whole("max-open-targets", "RANKD_MAX_OPEN_TARGETS", 1, MAX_OPEN_TARGETS).pipe(
    Flag.withDefault(defaults.maxOpenTargets),
    Flag.withDescription(
      `Targets of all open tracked commands together, at most (RANKD_MAX_OPEN_TARGETS; ${defaults.maxOpenTargets})`
    )
  ),
  tlsCert: file("tls-cert", "RANKD_TLS_CERT").pipe(
    Flag.withDescription(
      "PEM file of the server's certificate: speak TLS, and nothing else; with --tls-key (RANKD_TLS_CERT)"
    )
  ),
  tlsKey: file("tls-key", "RANKD_TLS_KEY").pipe(
    Flag.withDescription("PEM file of the certificate's private key (RANKD_TLS_KEY)")
  ),
  tlsCa: file("tls-ca", "RANKD_TLS_CA").pipe(
    Flag.withDescription("PEM file of a CA: clients have to show a certificate of it that names them (RANKD_TLS_CA)")
  ),
  tlsMinVersion: Flag.Literals("tls-min-version", tlsVersions).pipe(
    Flag.withFallbackConfig(Config.Literals(tlsVersions, "RANKD_TLS_MIN_VERSION")),
    Flag.withDefault("1.3" as (typeof tlsVersions)[number]),
    Flag.withDescription("Least version of TLS that is spoken (RANKD_TLS_MIN_VERSION; 1.3)")
  ),
  maxHandshakes: whole("max-handshakes", "RANKD_MAX_HANDSHAKES", 1, MAX_HANDSHAKES).pipe(
    Flag.withDefault(NodeServer.MAX_HANDSHAKES),
    Flag.withDescription(
      `TLS handshakes under way at most; at one more the oldest is cut off (RANKD_MAX_HANDSHAKES; ${NodeServer.MAX_HANDSHAKES})`
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
    | "maxTotalPending"
    | "stallTimeout"
    | "rate"
    | "authTimeout"
    | "maxUnauthenticated"
    | "admission"
    | "commandTimeout"
    | "maxCommandTimeout"
    | "maxOpenCommands"
    | "maxOpenTargets"
    | "grace"
    | "drain"
  > {
  readonly host: string
  readonly port: number
  readonly maxConnections: Option.Option<number>
  readonly maxConnectionsPerAddress: Option.Option<number>
  readonly tokenFile: Option.Option<string>
  readonly insecure: boolean
  readonly tlsCert: Option.Option<string>
  readonly tlsKey: Option.Option<string>
  readonly tlsCa: Option.Option<string>
  readonly tlsMinVersion: (typeof tlsVersions)[number]
  readonly maxHandshakes: number
  readonly logLevel: LogLevel
}

/** The server could not start. `message` says what to do. */
export class StartError extends Schema.TaggedError<StartError>()("StartError", { message: Schema.String }) {
  /** EX_UNAVAILABLE of sysexits.h. */
  override readonly [Runtime.errorExitCode] = 69
  override readonly [Runtime.errorReported] = false
}

const tlsAdvice: { readonly [option in NodeServer.TlsError["option"]]: string } = {
  cert: "Name the PEM file of a certificate, and of those between it and its CA",
  key: "Name the PEM file of the private key that the certificate was made for",
  ca: "Name the PEM file of the CA that signs the certificates of clients"
}

/** Why listening failed, and what to do. */
export const startError = (options: Pick<Options, "host" | "port">) => (error: SocketServer.SocketServerError) => {
  const { host, port } = options
  const { cause } = error.reason
  if (cause instanceof NodeServer.TlsError) {
    const { detail, option, path } = cause
    return new StartError({ message: `cannot speak TLS: --tls-${option} ${path}: ${detail}. ${tlsAdvice[option]}` })
  }
  const { code, message } = cause as NodeJS.ErrnoException
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

/** How many connections the process may have open; unknown where there is no shell to ask, as on Windows. */
const descriptors = Effect.gen(function* () {
  const spawner = yield* ChildProcessSpawner.ChildProcessSpawner
  const limit = yield* spawner.string(ChildProcess.make("sh", ["-c", "ulimit -n"]))
  return Number(limit) - OWN_DESCRIPTORS
}).pipe(Effect.orElseSucceed(() => Number.NaN))

/** The bounds on connections that were asked for, as far as the limit of open files allows them. */
const connections = Effect.fnUntraced(function* (options: Options) {
  const { maxClients } = options
  const possible = yield* descriptors
  const asked = Option.getOrElse(options.maxConnections, () => Math.max(defaults.maxConnections, maxClients))
  const maxConnections = possible < asked ? Math.max(1, possible) : asked
  const needed = Option.getOrElse(options.maxConnections, () => maxClients)
  if (maxConnections < needed) {
    yield* Effect.logWarning(
      `the limit of open files (ulimit -n) is ${possible + OWN_DESCRIPTORS}: at most ${maxConnections} connections are taken, ` +
        `where ${needed} were asked for. Raise the limit, or lower --max-clients and --max-connections`
    )
  }
  return {
    maxClients: Math.min(maxClients, maxConnections),
    maxConnections,
    maxConnectionsPerAddress: Option.getOrElse(options.maxConnectionsPerAddress, () => maxConnections)
  }
})

const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127(?:\.[0-9]{1,3}){3}$/.test(host)

/** What TLS is spoken with, if it is. */
const tlsOf = ({ maxHandshakes, tlsCa, tlsCert, tlsKey, tlsMinVersion }: Options): NodeServer.TlsOptions | undefined =>
  Option.isSome(tlsCert) && Option.isSome(tlsKey)
    ? {
        cert: tlsCert.value,
        key: tlsKey.value,
        ca: Option.getOrUndefined(tlsCa),
        minVersion: `TLSv${tlsMinVersion}`,
        maxHandshakes
      }
    : undefined

/** Limits that only make sense beside others. */
const check = Effect.fnUntraced(function* (options: Options) {
  const { commandTimeout, host, insecure, maxCommandTimeout, maxLine, maxPending, maxTotalPending } = options
  const { tlsCa, tlsCert, tlsKey, tokenFile } = options
  if (Option.isSome(tlsCert) && Option.isNone(tlsKey)) {
    return yield* invalid("serve", "tls-cert", tlsCert.value, "--tls-key beside it, the private key")
  }
  if (Option.isSome(tlsKey) && Option.isNone(tlsCert)) {
    return yield* invalid("serve", "tls-key", tlsKey.value, "--tls-cert beside it, the certificate")
  }
  if (Option.isSome(tlsCa) && Option.isNone(tlsCert)) {
    return yield* invalid("serve", "tls-ca", tlsCa.value, "--tls-cert and --tls-key beside it")
  }
  const minPending = MIN_PENDING_LINES * maxLine
  if (maxPending < minPending) {
    const expected = `at least ${MIN_PENDING_LINES} times --max-line, ${minPending} or more`
    return yield* invalid("serve", "max-pending", `${maxPending}`, expected)
  }
  if (maxTotalPending < maxPending) {
    return yield* invalid("serve", "max-total-pending", `${maxTotalPending}`, `at least --max-pending, ${maxPending}`)
  }
  if (!isLoopback(host) && Option.isNone(tokenFile) && Option.isNone(tlsCa) && !insecure) {
    return yield* new StartError({
      message:
        `with --host ${host}, whoever reaches the port could come in and command others. Say who may with --token-file ` +
        "(rankd token makes one) or --tls-ca, or say that all may with --insecure"
    })
  }
  if (Duration.isGreaterThan(commandTimeout, maxCommandTimeout)) {
    const expected = `at most --max-command-timeout, ${Duration.toSeconds(maxCommandTimeout)}`
    return yield* invalid("serve", "command-timeout", `${Duration.toSeconds(commandTimeout)}`, expected)
  }
})

/** Who may come in; whoever reaches the port, where there is no file of tokens. */
const tokensOf = ({ tokenFile }: Options) =>
  Option.isNone(tokenFile)
    ? Effect.undefined
    : Tokens.make(tokenFile.value).pipe(
        Effect.provide(NodeCrypto.layerDigest),
        Effect.mapError(({ message }) => new StartError({ message }))
      )

/** Says that the server listens, and how to try it; then serves until it is told to end. */
const serving = Effect.fnUntraced(function* (options: Options, tokens: Tokens.Tokens | undefined) {
  const { address } = yield* RankServer
  const tls = tlsOf(options)
  yield* reloadOnHangup([
    ...(tls === undefined ? [] : [{ what: "TLS", reload: yield* NodeServer.Reload }]),
    ...(tokens === undefined ? [] : [{ what: "tokens", reload: tokens.reload }])
  ])
  const { host, port } = NetAddress.isInetAddress(address)
    ? { host: String(address.address), port: address.port }
    : options
  yield* Console.log(`rankd listening on ${NodeServer.hostInUrl(host)}:${port}`)
  const reachable = host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host
  const first = tokens === undefined ? "HELP" : "AUTH and a token"
  const client =
    tls === undefined
      ? `nc ${reachable} ${port}`
      : Option.isNone(options.tlsCa)
        ? `openssl s_client -quiet -connect ${NodeServer.hostInUrl(reachable)}:${port}`
        : `rankd connect --host ${reachable} --port ${port} --ca <file> --cert <file> --key <file>`
  if (options.insecure) yield* Effect.logWarning("--insecure: whoever reaches the port may come in and command others")
  yield* Console.error(`Try it: ${client}, in two terminals, and type ${first}. Ctrl-C stops the server.`)
  return yield* Effect.never
})

const serve = Effect.fnUntraced(
  function* (options: Options) {
    const tokens = yield* tokensOf(options)
    return yield* Effect.provide(
      serving(options, tokens),
      RankServer.layer.pipe(
        Layer.provideMerge(NodeServer.layer({ host: options.host, port: options.port, tls: tlsOf(options) })),
        Layer.provide(Settings.layer({ ...options, ...(yield* connections(options)) })),
        Layer.provide(Layer.succeed(Access, tokens))
      )
    )
  },
  Effect.scoped,
  (effect, options) =>
    Effect.provideService(effect, References.MinimumLogLevel, severity(options.logLevel)).pipe(
      Effect.catchTag("SocketServerError", (error) => Effect.fail(startError(options)(error)))
    )
)

export const run = (options: Options) => Effect.andThen(check(options), serve(options))

export const examples = [
  { command: "rankd", description: "Listen on 127.0.0.1:5000 for at most 200 clients" },
  { command: "rankd serve --host 0.0.0.0 --token-file tokens", description: "Listen for those who have a token" },
  { command: "RANKD_PORT=0 rankd --log-level warn", description: "Take a free port; log only what is wrong" }
]

export const command = Command.make("serve", flags, run).pipe(
  Command.withDescription("Rank the clients that connect and pass commands down (what a bare rankd does, too)"),
  Command.withExamples(examples)
)
