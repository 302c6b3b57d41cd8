/** What every command that connects to a server has in common: its flags, what it tells of the connection, how it ends. */
import {
  Config,
  Console,
  Duration,
  Effect,
  FileSystem,
  Layer,
  Option,
  Runtime,
  Schema,
  Stream,
  SubscriptionRef
} from "effect"
import { Flag } from "effect/cli"
import type { Socket } from "effect/socket"
import * as Client from "../client/Connection.ts"
import type { Handler } from "../client/Executor.ts"
import * as NodeClient from "../client/NodeClient.ts"
import type { Rejected } from "../client/Rejected.ts"
import { hostInUrl } from "../net/node/NodeServer.ts"
import { GroupName, Name, Secret } from "../protocol/Ids.ts"
import type { Reason } from "../protocol/Reasons.ts"
import { file, whole } from "./flags.ts"
import { json, printable } from "./terminal.ts"

export const flags = {
  host: Flag.String("host").pipe(
    Flag.withSchema(Schema.NonEmptyString),
    Flag.withFallbackConfig(Config.String("RANKD_HOST")),
    Flag.withDefault("127.0.0.1"),
    Flag.withDescription("Name or address of the server (RANKD_HOST; 127.0.0.1)")
  ),
  port: whole("port", "RANKD_PORT", 1, 65_535).pipe(
    Flag.withDefault(5000),
    Flag.withDescription("Port of the server (RANKD_PORT; 5000)")
  ),
  name: Flag.String("name").pipe(
    Flag.filter(Schema.is(Name), () => "1-64 of A-Z a-z 0-9 . _ -, not like a member id (m1)"),
    Flag.optional,
    Flag.withDescription("Be known by this name")
  ),
  group: Flag.String("group").pipe(
    Flag.filter(Schema.is(GroupName), () => "1-64 of A-Z a-z 0-9 . _ -"),
    Flag.optional,
    Flag.withDescription("Be in this group (default)")
  ),
  tokenFrom: Flag.String("token-from").pipe(
    Flag.optional,
    Flag.withDescription("Show the server the token that this file holds (or the token itself is in RANKD_TOKEN)")
  ),
  tls: Flag.Boolean("tls").pipe(
    Flag.withFallbackConfig(Config.Boolean("RANKD_TLS")),
    Flag.withDefault(false),
    Flag.withDescription("Connect over TLS, as --ca, --cert and --key do (RANKD_TLS)")
  ),
  ca: file("ca", "RANKD_CA").pipe(
    Flag.withDescription("PEM file of the CA of the server's certificate (RANKD_CA; the CAs that Node knows)")
  ),
  cert: file("cert", "RANKD_CERT").pipe(
    Flag.withDescription("PEM file of a certificate to show to the server; with --key (RANKD_CERT)")
  ),
  key: file("key", "RANKD_KEY").pipe(Flag.withDescription("PEM file of its private key (RANKD_KEY)")),
  json: Flag.Boolean("json").pipe(
    Flag.withDefault(false),
    Flag.withDescription("Say what is said as JSON, an object a line")
  )
}

export interface Connecting {
  readonly host: string
  readonly port: number
  readonly name: Option.Option<string>
  readonly group: Option.Option<string>
  readonly tokenFrom: Option.Option<string>
  readonly tls: boolean
  readonly ca: Option.Option<string>
  readonly cert: Option.Option<string>
  readonly key: Option.Option<string>
  readonly json: boolean
}

/** What flags say together is of no use. `message` says what to do. */
export class Unusable extends Schema.TaggedError<Unusable>()("Unusable", { message: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 2
  override readonly [Runtime.errorReported] = false
}

/** What `NodeClient` connects to, and with what. */
const address = Effect.fnUntraced(function* ({ host, port, ...options }: Connecting) {
  const { readFileString } = yield* FileSystem.FileSystem
  const read = Effect.fnUntraced(function* (flag: "ca" | "cert" | "key") {
    if (Option.isNone(options[flag])) return undefined
    const path = options[flag].value
    return yield* Effect.mapError(
      readFileString(path),
      ({ reason }) => new Unusable({ message: `--${flag} ${path} cannot be read: ${reason._tag}. Name a file in PEM` })
    )
  })
  const [ca, cert, key] = [yield* read("ca"), yield* read("cert"), yield* read("key")]
  if ((cert === undefined) !== (key === undefined)) {
    const [given, missing] = cert === undefined ? ["key", "cert"] : ["cert", "key"]
    return yield* new Unusable({ message: `--${given} is of no use alone. Give --${missing}, too` })
  }
  const tls = options.tls || ca !== undefined || cert !== undefined
  return { host, port, tls: tls ? { ca, cert, key } : undefined }
})

/** The flags were judged already, but for what the files of TLS hold. */
const unusable = ({ message }: Rejected) =>
  new Unusable({
    message: `--ca, --cert and --key cannot be used: ${message}. They are files in PEM; the key belongs to the certificate`
  })

/** What the server is shown. No flag holds it: those everybody on the machine can see. */
const token = Effect.fnUntraced(function* ({ tokenFrom }: Connecting) {
  const inFile = Option.isSome(tokenFrom)
  const [where, value] = inFile
    ? [
        `--token-from ${tokenFrom.value}`,
        yield* Effect.option(FileSystem.FileSystem.use((files) => files.readFileString(tokenFrom.value)))
      ]
    : ["RANKD_TOKEN", yield* Effect.orDie(Config.option(Config.String("RANKD_TOKEN")))]
  if (Option.isNone(value)) {
    return inFile
      ? yield* new Unusable({ message: `${where} cannot be read. Name a file that holds the token` })
      : undefined
  }
  const secret = value.value.trim()
  if (Schema.is(Secret)(secret)) return secret
  return yield* new Unusable({ message: `${where} holds no token: one word of printable characters` })
})

const identity = Effect.fnUntraced(function* (options: Connecting) {
  const shown = yield* token(options)
  const [name, group] = [Option.getOrUndefined(options.name), Option.getOrUndefined(options.group)]
  return {
    ...(name === undefined ? {} : { name }),
    ...(group === undefined ? {} : { group }),
    ...(shown === undefined ? {} : { token: shown })
  }
})

/** Who reads the output may go, as `head` does: then this command has nothing left to do. */
const endWithReader = Effect.sync(() => {
  process.stdout.once("error", ({ code, message }: NodeJS.ErrnoException) => {
    if (code === "EPIPE") return process.kill(process.pid, "SIGTERM")
    process.stderr.write(`rankd: cannot write the output: ${message}\n`)
    process.exit(EX_IOERR)
  })
})

/** The client that the flags describe. */
export const layer = (options: Connecting, handler?: Handler) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const [to, as] = [yield* address(options), yield* identity(options)]
      return NodeClient.layer({ ...to, ...as, ...(handler === undefined ? {} : { handler }) })
    })
  ).pipe(
    Layer.catchTag("Rejected", (rejected) => Layer.effectContext(Effect.fail(unusable(rejected)))),
    Layer.merge(Layer.effectDiscard(endWithReader))
  )

/** The same as a mere link, for what is not about commands and outcomes. */
export const link = Effect.fnUntraced(
  function* (options: Connecting) {
    yield* endWithReader
    const [to, as] = [yield* address(options), yield* identity(options)]
    return yield* Effect.provide(Client.make(as), NodeClient.socket(to))
  },
  Effect.catchTag("Rejected", (rejected) => Effect.fail(unusable(rejected)))
)

/** Of sysexits.h. */
const EX_IOERR = 74

/** Ends the process with this status, and says nothing more. */
export class ExitStatus extends Schema.TaggedError<ExitStatus>()("ExitStatus", { status: Schema.Int }) {
  override readonly [Runtime.errorReported] = false
  override get [Runtime.errorExitCode]() {
    return this.status
  }
}

/** There is no server to talk to. `message` says what to do. */
export class NoServer extends Schema.TaggedError<NoServer>()("NoServer", { message: Schema.String }) {
  /** EX_UNAVAILABLE of sysexits.h. */
  override readonly [Runtime.errorExitCode] = 69
  override readonly [Runtime.errorReported] = false
}

/** A command could not be run at all: 127, as a shell has it. */
export class NotRun extends Schema.TaggedError<NotRun>()("NotRun", { message: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 127
  override readonly [Runtime.errorReported] = false
}

/** How long the server has to answer. */
const PATIENCE = Duration.seconds(5)

type State = Pick<Client.Connection, "standing" | "refused" | "failure">

/** Why nobody has admitted it, and what to do. A server that is spoken to in the wrong way closes the connection, and says nothing. */
const unanswered = ({ ca, cert, host, port, tls }: Connecting, { failure }: State) => {
  const server = `${hostInUrl(host)}:${port}`
  const last = SubscriptionRef.getUnsafe(failure)
  if (last === undefined || last.reason._tag === "SocketOpenError") {
    return {
      why: `no answer from ${server}`,
      advice: "Start a server there with rankd serve, or name another with --host and --port"
    }
  }
  const why = `${server} closes the connection`
  if (Option.isSome(cert)) return { why, advice: "Is the certificate of --cert of a CA that it trusts?" }
  return { why, advice: tls || Option.isSome(ca) ? "Is it a rankd server?" : "If it speaks TLS, give --tls" }
}

const next = <A>(ref: SubscriptionRef.SubscriptionRef<A | undefined>): Effect.Effect<A> =>
  SubscriptionRef.changes(ref).pipe(
    Stream.filter((value) => value !== undefined),
    Stream.runHead,
    Effect.flatMap(Option.match({ onNone: () => Effect.never, onSome: Effect.succeed }))
  )

const advice: { readonly [reason in Reason]?: string } = {
  "not authorized":
    "Show a token that the server knows, with --token-from or RANKD_TOKEN, or a certificate, with --cert",
  "name taken": "Choose another with --name",
  "server full": "Raise --max-clients of the server, or try again when a member has left"
}

/** Why there is no TLS, and what to do; undefined where the connection failed for another reason. */
const tlsTrouble = ({ reason }: Socket.SocketError): string | undefined => {
  const { code = "", message } = ("cause" in reason ? (reason.cause ?? {}) : {}) as Partial<NodeJS.ErrnoException>
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the server's certificate is for another name: ${message}. Name the server with --host as its certificate does`
  }
  if (code.startsWith("CERT_")) return `the server's certificate is not trusted: ${message}`
  if (/^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE)/.test(code)) {
    return `the server's certificate is not trusted: ${message}. Give its CA with --ca`
  }
  if (code === "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" || code.endsWith("_ALERT_HANDSHAKE_FAILURE")) {
    return "the server wants a certificate. Give one with --cert and --key"
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    return "the server does not speak TLS. Leave out --tls, --ca, --cert and --key"
  }
  return code.startsWith("ERR_SSL_") ? `TLS failed: ${code}` : undefined
}

/** Where this client stands, as soon as it is ranked; for a command that does not wait for a server. */
export const ranked = (options: Connecting, state: State): Effect.Effect<Client.Standing, NoServer> => {
  const { failure, refused, standing } = state
  // What keeps TLS from being spoken does not go away by itself.
  const trouble = SubscriptionRef.changes(failure).pipe(
    Stream.runForEach((error) => {
      const message = error && tlsTrouble(error)
      return message === undefined ? Effect.void : Effect.fail(new NoServer({ message: printable(message) }))
    }),
    Effect.andThen(Effect.never)
  )
  const refusal = Effect.flatMap(next(refused), ({ message, reason }) =>
    Effect.fail(new NoServer({ message: printable(`not admitted: ${message}. ${advice[reason] ?? ""}`).trimEnd() }))
  )
  return Effect.raceAllFirst([next(standing), refusal, trouble]).pipe(
    Effect.timeoutOrElse({
      duration: PATIENCE,
      orElse: () => {
        const { advice, why } = unanswered(options, state)
        return Effect.fail(new NoServer({ message: `${why}. ${advice}` }))
      }
    })
  )
}

/** Tells on standard error where this client stands, whenever that changes; for a command that waits for a server. */
export const notices = Effect.fnUntraced(function* (options: Connecting, state: State) {
  const { failure, refused, standing } = state
  let said: string | undefined
  const say = (text: string, value: object) => {
    if (text === said) return Effect.void
    said = text
    return Console.error(options.json ? json(value) : printable(`rankd: ${text}`))
  }
  const notConnected = (reason: string, detail = reason) =>
    say(`${detail}; trying again`, { _tag: "NotConnected", reason })
  let stood: Client.Standing | undefined
  const stands = Stream.runForEach(SubscriptionRef.changes(standing), (now) => {
    const before = stood
    stood = now
    if (now === undefined) return before === undefined ? Effect.void : notConnected("connection lost")
    if (before?.rank === now.rank && before.group === now.group) return Effect.void
    const { group, member, rank, size } = now
    return say(`rank ${rank} of ${size} in group ${group}, as ${member}`, { _tag: "Ranked", ...now })
  })
  const refusals = Stream.runForEach(SubscriptionRef.changes(refused), (why) =>
    why === undefined ? Effect.void : notConnected(why.message, `not admitted: ${why.message}`)
  )
  const failures = Stream.runForEach(SubscriptionRef.changes(failure), (error) => {
    const message = error && tlsTrouble(error)
    return message === undefined ? Effect.void : notConnected(message)
  })
  const silence = Effect.delay(
    Effect.suspend(() => (said === undefined ? notConnected(unanswered(options, state).why) : Effect.void)),
    PATIENCE
  )
  yield* Effect.forkScoped(Effect.all([stands, refusals, failures, silence], { concurrency: 4, discard: true }))
})
