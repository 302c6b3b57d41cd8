/** What every command that connects to a server has in common: its flags, and how it ends. */
import { Config, Duration, Effect, type Layer, Option, Runtime, Schema, Stream, SubscriptionRef } from "effect"
import { Flag } from "effect/cli"
import type { Standing } from "../client/Link.ts"
import * as NodeClient from "../client/NodeClient.ts"
import { RankClient } from "../client/RankClient.ts"
import { GroupName, Name } from "../protocol/Message.ts"
import { hostInUrl } from "../server/NodeServer.ts"
import { whole } from "./flags.ts"

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
  )
}

export interface Connecting {
  readonly host: string
  readonly port: number
  readonly name: Option.Option<string>
  readonly group: Option.Option<string>
}

/** The client that the flags describe. */
export const layer = ({ group, host, name, port }: Connecting): Layer.Layer<RankClient> =>
  NodeClient.layer({
    host,
    port,
    ...Option.match(name, { onNone: () => ({}), onSome: (name) => ({ name }) }),
    ...Option.match(group, { onNone: () => ({}), onSome: (group) => ({ group }) })
  })

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

/** How long a command that asks once waits for the server. */
const PATIENCE = Duration.seconds(5)

/** Where this client stands, as soon as it is ranked. */
export const ranked = ({ host, port }: Connecting): Effect.Effect<Standing, NoServer, RankClient> =>
  Effect.gen(function* () {
    const { standing } = yield* RankClient
    const now = yield* SubscriptionRef.changes(standing).pipe(
      Stream.filter((now) => now !== undefined),
      Stream.runHead,
      Effect.timeoutOption(PATIENCE),
      Effect.map(Option.flatten)
    )
    if (Option.isSome(now)) return now.value
    return yield* new NoServer({
      message: `no answer from ${hostInUrl(host)}:${port}. Start a server there with rankd serve, or name another with --host and --port`
    })
  })
