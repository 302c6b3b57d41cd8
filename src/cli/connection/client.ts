/** The client that the flags describe. Reads the files that they name, and fails when it cannot use them. */
import { Config, Effect, FileSystem, Layer, Option, Schema } from "effect"
import * as Connection from "../../client/Connection.ts"
import type { Handler } from "../../client/Executor.ts"
import * as NodeClient from "../../client/NodeClient.ts"
import type { Rejected } from "../../client/Rejected.ts"
import { Secret } from "../../protocol/Ids.ts"
import { Unusable } from "./failures.ts"
import type { Connecting } from "./flags.ts"

const readFile = Effect.fnUntraced(function* (flag: string, path: string, advice: string) {
  const { readFileString } = yield* FileSystem.FileSystem
  return yield* Effect.mapError(
    readFileString(path),
    ({ reason }) => new Unusable({ message: `--${flag} ${path} cannot be read: ${reason._tag}. ${advice}` })
  )
})

/** The server, and what TLS needs. */
const address = Effect.fnUntraced(function* ({ host, port, ...options }: Connecting) {
  const read = (flag: "ca" | "cert" | "key") =>
    Option.match(options[flag], {
      onNone: () => Effect.undefined,
      onSome: (path) => readFile(flag, path, "Name a PEM file")
    })
  const [ca, cert, key] = [yield* read("ca"), yield* read("cert"), yield* read("key")]
  if ((cert === undefined) !== (key === undefined)) {
    const [given, missing] = cert === undefined ? ["key", "cert"] : ["cert", "key"]
    return yield* new Unusable({ message: `--${given} needs --${missing}. Give both` })
  }
  const tls = options.tls || ca !== undefined || cert !== undefined
  return { host, port, tls: tls ? { ca, cert, key } : undefined }
})

/** Everything else that a client could reject was checked with the flags. */
const unusable = ({ message }: Rejected) =>
  new Unusable({
    message: `--ca, --cert and --key cannot be used: ${message}. They name PEM files; the key belongs to the certificate`
  })

/** No flag holds the token itself: everyone on the machine can see flags. */
const token = Effect.fnUntraced(function* ({ tokenFrom }: Connecting) {
  const [source, text] = Option.isSome(tokenFrom)
    ? [
        `--token-from ${tokenFrom.value}`,
        Option.some(yield* readFile("token-from", tokenFrom.value, "Name a file that contains the token"))
      ]
    : ["RANKD_TOKEN", yield* Effect.orDie(Config.option(Config.String("RANKD_TOKEN")))]
  if (Option.isNone(text)) return undefined
  const secret = text.value.trim()
  if (Schema.is(Secret)(secret)) return secret
  return yield* new Unusable({ message: `${source}: not a token (one word of printable characters)` })
})

const identity = Effect.fnUntraced(function* (options: Connecting) {
  const secret = yield* token(options)
  const [name, group] = [Option.getOrUndefined(options.name), Option.getOrUndefined(options.group)]
  return {
    ...(name === undefined ? {} : { name }),
    ...(group === undefined ? {} : { group }),
    ...(secret === undefined ? {} : { token: secret })
  }
})

/** EX_IOERR of sysexits.h. */
const EX_IOERR = 74

const outputFailed = ({ code, message }: NodeJS.ErrnoException): void => {
  if (code === "EPIPE") {
    process.kill(process.pid, "SIGTERM")
    return
  }
  process.stderr.write(`rankd: cannot write the output: ${message}\n`)
  process.exit(EX_IOERR)
}

/** When the reader of the output ends, as `head` does, the command has nothing left to do. */
const endWithReader = Effect.acquireRelease(
  Effect.sync(() => process.stdout.on("error", outputFailed)),
  () => Effect.sync(() => process.stdout.off("error", outputFailed))
)

/** A client that issues commands, and executes them with `handler`. */
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

/** A connection alone, for a command that handles every message itself. */
export const link = Effect.fnUntraced(
  function* (options: Connecting) {
    yield* endWithReader
    const [to, as] = [yield* address(options), yield* identity(options)]
    return yield* Effect.provide(Connection.make(as), NodeClient.socket(to))
  },
  Effect.catchTag("Rejected", (rejected) => Effect.fail(unusable(rejected)))
)
