/** `rankd serve`: the server as a process. Assembles it from the flags, announces it, and runs until a signal stops it. */
import { Console, Effect, Layer, References } from "effect"
import { Command } from "effect/cli"
import { NetAddress } from "effect/net"
import { Stdio } from "effect/Stdio"
import * as NodeServer from "../../net/node/NodeServer.ts"
import { hostInUrl } from "../../net/Subnet.ts"
import { Access } from "../../server/admission/Access.ts"
import type { Tokens } from "../../server/admission/Tokens.ts"
import { RankServer } from "../../server/Server.ts"
import { Settings } from "../../server/Settings.ts"
import { Variables } from "../flags/rows.ts"
import { asService } from "../signals.ts"
import { check } from "./check.ts"
import { connectionLimits } from "./connections.ts"
import { flags, type Options } from "./flags.ts"
import { hint } from "./hint.ts"
import { requireFiles, requireProtection, tlsOf, tokensOf } from "./protection.ts"
import { reloadFiles } from "./reload.ts"
import { startError } from "./StartError.ts"

/** The level as Effect writes it: "info" is "Info". */
const severity = (level: Options["logLevel"]) => (level[0]!.toUpperCase() + level.slice(1)) as Capitalize<typeof level>

/** Announces where the server listens; then waits for a signal. */
const announceAndWait = Effect.fnUntraced(function* (options: Options, tokens: Tokens | undefined) {
  const { address } = yield* RankServer
  yield* reloadFiles([
    ...(tlsOf(options) === undefined ? [] : [{ what: "TLS", reload: yield* NodeServer.Reload }]),
    ...(tokens === undefined ? [] : [{ what: "tokens", reload: tokens.reload }])
  ])
  const { host, port } = NetAddress.isInetAddress(address)
    ? { host: String(address.address), port: address.port }
    : options
  yield* Console.log(`rankd listening on ${hostInUrl(host)}:${port}`)
  if (options.insecure)
    yield* Effect.logWarning("--insecure: anyone who reaches the port can connect and command others")
  const { stderrIsTerminal } = yield* Stdio
  if (yield* stderrIsTerminal) yield* Console.error(hint(options, host, port))
  return yield* Effect.never
})

const run = Effect.fnUntraced(
  function* (options: Options) {
    yield* asService
    yield* requireProtection(options)
    yield* requireFiles(options)
    const tokens = yield* tokensOf(options)
    return yield* Effect.provide(
      announceAndWait(options, tokens),
      RankServer.layer.pipe(
        Layer.provideMerge(NodeServer.layer({ host: options.host, port: options.port, tls: tlsOf(options) })),
        Layer.provide(Settings.layer({ ...options, ...(yield* connectionLimits(options)) })),
        Layer.provide(Layer.succeed(Access, tokens))
      )
    )
  },
  Effect.scoped,
  (effect, options) =>
    Effect.provideService(effect, References.MinimumLogLevel, severity(options.logLevel)).pipe(
      Effect.catchTag("SocketServerError", (error) =>
        Effect.flatMap(Variables, (variables) => Effect.fail(startError(options, variables)(error)))
      )
    )
)

const examples = [
  { command: "rankd", description: "Listen on 127.0.0.1:5000 for up to 200 clients" },
  {
    command: "rankd serve --host 0.0.0.0 --token-file tokens",
    description: "Listen on a network for clients with a token"
  },
  {
    command: "RANKD_PORT=0 rankd --log-level warn",
    description: "Take any free port, and log only warnings and errors"
  }
]

/** Serves under any name: `rankd serve`, or a bare `rankd`. */
export const named = <const Name extends string>(name: Name) =>
  Command.make(name, flags, run).pipe(Command.validate(check), Command.withExamples(examples))

export const command = named("serve").pipe(
  Command.withDescription("Run the server (the same as rankd without a command)")
)
