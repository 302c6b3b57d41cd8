/** The client that the flags describe. Reads the files that they name, and fails when it cannot use them. */
import { Config, Effect, Layer, Option, Schema } from "effect"
import * as Connection from "../../client/Connection.ts"
import type { Handler } from "../../client/Executor.ts"
import * as NodeClient from "../../client/NodeClient.ts"
import type { ClientOptions } from "../../client/RankClient.ts"
import type { Rejected } from "../../client/Rejected.ts"
import { Secret } from "../../protocol/Ids.ts"
import { readFile } from "../flags/readFile.ts"
import { Variables } from "../flags/rows.ts"
import { Unusable } from "./failures.ts"
import type { Connecting } from "./flags.ts"
import { endWithOutput } from "./output.ts"

const contentOf = (flag: string, path: string, advice: string) =>
  Effect.mapError(readFile(flag, path), (error) => new Unusable({ message: `${error}. ${advice}` }))

/** The server, and what TLS needs. */
const address = Effect.fnUntraced(function* ({ host, port, ...options }: Connecting) {
  const read = (flag: "ca" | "cert" | "key") =>
    Option.match(options[flag], {
      onNone: () => Effect.undefined,
      onSome: (path) => contentOf(flag, path, "Name a PEM file")
    })
  const [ca, cert, key] = [yield* read("ca"), yield* read("cert"), yield* read("key")]
  if ((cert === undefined) !== (key === undefined)) {
    const [flag, missing] = cert === undefined ? ["key", "cert"] : ["cert", "key"]
    const given = (yield* Variables).get(flag)?.withValue ?? `--${flag}`
    return yield* new Unusable({ message: `${given} needs --${missing}. Give both` })
  }
  const tls = options.tls || ca !== undefined || cert !== undefined
  return { host, port, tls: tls ? { ca, cert, key } : undefined }
})

/** Everything else that a client could reject was checked with the flags. */
const unusable = Effect.fnUntraced(function* ({ message }: Rejected) {
  const variables = yield* Variables
  const [ca, cert, key] = ["ca", "cert", "key"].map((flag) => variables.get(flag)?.withValue ?? `--${flag}`)
  const files = `${ca}, ${cert} and ${key}`
  return yield* new Unusable({
    message: `${files} cannot be used: ${message}. They name PEM files; the key belongs to the certificate`
  })
})

/** No flag holds the token itself: everyone on the machine can see flags. */
const token = Effect.fnUntraced(function* ({ tokenFrom }: Connecting) {
  const [source, text] = Option.isSome(tokenFrom)
    ? [
        `--token-from ${tokenFrom.value}`,
        Option.some(yield* contentOf("token-from", tokenFrom.value, "Name a file that contains the token"))
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

/** A client that issues commands, and executes them with `handler`. `more` are other options of a client. */
export const layer = (options: Connecting, handler?: Handler, more: Pick<ClientOptions, "heartbeat" | "lease"> = {}) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const [to, as] = [yield* address(options), yield* identity(options)]
      return NodeClient.layer({ ...to, ...as, ...more, ...(handler === undefined ? {} : { handler }) })
    })
  ).pipe(Layer.catchTag("Rejected", (rejected) => Layer.effectContext(unusable(rejected))))

/** A connection alone, for a command that handles every message itself. */
export const link = Effect.fnUntraced(
  function* (options: Connecting) {
    yield* endWithOutput(options)
    const [to, as] = [yield* address(options), yield* identity(options)]
    return yield* Effect.provide(Connection.make(as), NodeClient.socket(to))
  },
  Effect.catchTag("Rejected", unusable)
)
