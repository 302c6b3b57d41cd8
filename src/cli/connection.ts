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
import { type CliError, Flag } from "effect/cli"
import type { Handler } from "../client/Executor.ts"
import * as Link from "../client/Link.ts"
import * as NodeClient from "../client/NodeClient.ts"
import { GroupName, Name, type Reason, Secret } from "../protocol/Message.ts"
import { hostInUrl } from "../server/NodeServer.ts"
import { invalid, whole } from "./flags.ts"
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
  readonly json: boolean
}

/** What the server is shown; no argument, for those everybody on the machine can see. */
const token = Effect.fnUntraced(function* ({ tokenFrom }: Connecting) {
  const [where, value] = Option.isSome(tokenFrom)
    ? [
        tokenFrom.value,
        yield* Effect.option(FileSystem.FileSystem.use((files) => files.readFileString(tokenFrom.value)))
      ]
    : ["RANKD_TOKEN", yield* Effect.orDie(Config.option(Config.String("RANKD_TOKEN")))]
  if (Option.isNone(value) && Option.isNone(tokenFrom)) return undefined
  const secret = Option.getOrElse(value, () => "").trim()
  if (!Schema.is(Secret)(secret))
    return yield* invalid("connect", "token-from", where, "a readable file with one token")
  return secret
})

const identity = Effect.fnUntraced(function* (
  options: Connecting
): Effect.fn.Return<Link.Identity, CliError.ShowHelp, FileSystem.FileSystem> {
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
    Effect.map(identity(options), (identity) =>
      // The flags were judged already.
      Layer.orDie(
        NodeClient.layer({
          host: options.host,
          port: options.port,
          ...identity,
          ...(handler === undefined ? {} : { handler })
        })
      )
    )
  ).pipe(Layer.merge(Layer.effectDiscard(endWithReader)))

/** The same as a mere link, for what is not about commands and outcomes. */
export const link = Effect.fnUntraced(function* (options: Connecting) {
  const as = yield* identity(options)
  yield* endWithReader
  return yield* Effect.orDie(Effect.provide(Link.make(as), NodeClient.socket(options)))
})

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

type State = Pick<Link.Link, "standing" | "refused">

const unanswered = ({ host, port }: Connecting) => `no answer from ${hostInUrl(host)}:${port}`

const next = <A>(ref: SubscriptionRef.SubscriptionRef<A | undefined>): Effect.Effect<A> =>
  SubscriptionRef.changes(ref).pipe(
    Stream.filter((value) => value !== undefined),
    Stream.runHead,
    Effect.flatMap(Option.match({ onNone: () => Effect.never, onSome: Effect.succeed }))
  )

const advice: { readonly [reason in Reason]?: string } = {
  "not authorized": "Show a token that the server knows, with --token-from or RANKD_TOKEN",
  "name taken": "Choose another with --name",
  "server full": "Raise --max-clients of the server, or try again when a member has left"
}

/** Where this client stands, as soon as it is ranked; for a command that does not wait for a server. */
export const ranked = (options: Connecting, { refused, standing }: State): Effect.Effect<Link.Standing, NoServer> => {
  const refusal = Effect.flatMap(next(refused), ({ message, reason }) =>
    Effect.fail(new NoServer({ message: printable(`not admitted: ${message}. ${advice[reason] ?? ""}`).trimEnd() }))
  )
  return Effect.raceFirst(next(standing), refusal).pipe(
    Effect.timeoutOrElse({
      duration: PATIENCE,
      orElse: () =>
        Effect.fail(
          new NoServer({
            message: `${unanswered(options)}. Start a server there with rankd serve, or name another with --host and --port`
          })
        )
    })
  )
}

/** Tells on standard error where this client stands, whenever that changes; for a command that waits for a server. */
export const notices = Effect.fnUntraced(function* (options: Connecting, { refused, standing }: State) {
  let said: string | undefined
  const say = (text: string, value: object) => {
    if (text === said) return Effect.void
    said = text
    return Console.error(options.json ? json(value) : printable(`rankd: ${text}`))
  }
  const notConnected = (reason: string, detail = reason) =>
    say(`${detail}; trying again`, { _tag: "NotConnected", reason })
  let stood: Link.Standing | undefined
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
  const silence = Effect.delay(
    Effect.suspend(() => (said === undefined ? notConnected(unanswered(options)) : Effect.void)),
    PATIENCE
  )
  yield* Effect.forkScoped(Effect.all([stands, refusals, silence], { concurrency: 3, discard: true }))
})
