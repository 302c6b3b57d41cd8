/**
 * The server as a part of a larger Effect app: a web service that ranks its clients,
 * and lists them over HTTP. One process, one set of layers.
 *
 *     tsx examples/embedded.ts <port of the ranks> <port of the web>
 */
import { createServer } from "node:http"
import { NodeHttpServer, NodeRuntime } from "@effect/platform-node"
import { Effect, Layer, Option, Stream } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { NodeClient, NodeServer, RankClient, RankServer, Settings } from "../src/index.ts"

const [ranksPort = 5000, webPort = 8080] = process.argv.slice(2).map(Number)
const host = "127.0.0.1"

const Ranks = RankServer.layer.pipe(
  Layer.provide(NodeServer.layer({ host, port: ranksPort })),
  Layer.provide(Settings.layer({ maxClients: 1000 }))
)

/** The app is its own first client: it has rank 0, and sees the others come and leave. */
const Observer = NodeClient.layer({ host, port: ranksPort, name: "app" }).pipe(Layer.provide(Ranks))

const Members = HttpRouter.add(
  "GET",
  "/members",
  Effect.gen(function* () {
    const { roster } = yield* RankClient
    const members = yield* Stream.runHead(Stream.filter(roster, (members) => members.length > 0))
    return HttpServerResponse.jsonUnsafe(Option.getOrElse(members, () => []))
  })
).pipe(HttpRouter.provideRequest(Observer))

HttpRouter.serve(Members).pipe(
  Layer.provide(NodeHttpServer.layer(createServer, { host, port: webPort })),
  Layer.launch,
  NodeRuntime.runMain
)
