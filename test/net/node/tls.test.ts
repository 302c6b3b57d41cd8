import { copyFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { type ConnectionOptions, connect as connectSecurely, type TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Logger, Queue, Result, type Scope } from "effect"
import { Socket, SocketServer } from "effect/socket"
import { NodeClient, NodeServer, RankClient } from "../../../src/index.ts"
import { TransportOf } from "../../../src/net/Transport.ts"
import { nameOf } from "../../../src/server/admission/CertificateName.ts"
import { type Certificates, certificates, type Issued, LOCAL } from "../../support/certificates.ts"
import { client, connect, connectTls, Port, serverLayer } from "../../support/wire.ts"

const isRank = (line: string) => line.startsWith("RANK")

interface Known {
  readonly issuer: Certificates
  readonly ca: Issued
  readonly server: Issued
  /** The options of a client that trusts the CA. */
  readonly trust: { readonly ca: string }
}

/** A CA, and a server with a certificate from it. `more` adds options, and may use both. */
const withServer = <A, E>(
  test: (known: Known) => Effect.Effect<A, E, Port | Scope.Scope>,
  more: (known: Known) => Partial<NodeServer.TlsOptions> = () => ({})
) =>
  Effect.gen(function* () {
    const issuer = yield* certificates
    const ca = issuer.authority("ca")
    const server = issuer.issue("server", ca, LOCAL)
    const known = { issuer, ca, server, trust: { ca: ca.cert } }
    const tls = { cert: server.certPath, key: server.keyPath, ...more(known) }
    return yield* Effect.provide(Effect.scoped(test(known)), serverLayer({}, tls))
  }).pipe(Effect.scoped)

/** Connects a client that gets a rank. */
const admitted = (options: ConnectionOptions) => Effect.tap(connectTls(options), (wire) => wire.until(isRank))

/** The lines of a client that gets no rank. */
const turnedAway = (options: ConnectionOptions) =>
  connectTls(options).pipe(
    Effect.flatMap((wire) => wire.untilClosed),
    Effect.catch(() => Effect.succeed([]))
  )

/** Connections that never send anything. */
const stalled = (count: number) =>
  Effect.flatMap(Port, (port) =>
    Effect.forEach(Array.from({ length: count }), () => connect({ host: "127.0.0.1", port }), { concurrency: count })
  )

/** Waits until so many of the connections are closed. */
const closed = (wires: ReadonlyArray<{ readonly closed: boolean }>, count: number) =>
  Effect.gen(function* () {
    while (wires.filter((wire) => wire.closed).length < count) yield* Effect.sleep("10 millis")
  }).pipe(Effect.timeoutOrElse({ duration: "10 seconds", orElse: () => Effect.die(new Error("were not closed")) }))

describe("the server over TLS", () => {
  it.live("serves a RankClient", () =>
    withServer(({ trust }) =>
      Effect.gen(function* () {
        const address = { host: "127.0.0.1", port: yield* Port, tls: trust }
        const boss = yield* Layer.build(NodeClient.layer({ ...address, name: "boss" }))
        const outcome = yield* Effect.gen(function* () {
          const { exec } = yield* RankClient
          yield* Layer.build(
            NodeClient.layer({
              ...address,
              name: "worker",
              handler: ({ command }) => Effect.succeed({ status: 3, output: `did ${command}, `.repeat(10_000) })
            })
          )
          return yield* Effect.repeat(exec("@worker", "it"), { until: ({ status }) => status === 3 })
        }).pipe(Effect.provide(boss))
        assert.strictEqual(outcome.output, "did it, ".repeat(10_000))
      })
    )
  )

  it.live("speaks 1.3, and 1.2 with --tls-min-version", () =>
    Effect.gen(function* () {
      yield* withServer(({ trust }) =>
        Effect.gen(function* () {
          assert.strictEqual(((yield* admitted(trust)).socket as TLSSocket).getProtocol(), "TLSv1.3")
          const { message } = yield* Effect.flip(connectTls({ ...trust, maxVersion: "TLSv1.2" }))
          assert.match(message, /alert protocol version/)
        })
      )
      yield* withServer(
        ({ trust }) =>
          Effect.gen(function* () {
            const old = yield* admitted({ ...trust, maxVersion: "TLSv1.2" })
            assert.strictEqual((old.socket as TLSSocket).getProtocol(), "TLSv1.2")
            assert.strictEqual(((yield* admitted(trust)).socket as TLSSocket).getProtocol(), "TLSv1.3")
          }),
        () => ({ minVersion: "TLSv1.2" })
      )
    })
  )

  it.live("gives no rank to a client that does not speak TLS", () =>
    withServer(({ trust }) =>
      Effect.gen(function* () {
        const first = yield* admitted(trust)
        const plain = yield* client
        plain.send("RANKS")
        assert.notInclude((yield* plain.untilClosed).join(), "RANK")
        first.send("WATCH", "PING")
        const lines = yield* first.until((line) => line.startsWith("PONG"))
        assert.include(lines.join(), "END 1 ")
      })
    )
  )

  it.live("delivers its last line to a client that is still sending", () =>
    withServer(({ trust }) =>
      Effect.gen(function* () {
        const wire = yield* connectTls(trust)
        wire.socket.write("x".repeat(3_000_000))
        assert.deepStrictEqual((yield* wire.untilClosed).slice(1), ["ERROR 0 line too long"])
        // Also to a script that ends its side before it reads.
        const script = yield* connectTls(trust)
        script.socket.end(`RANKS\n${`PING ${"x".repeat(60_000)}\n`.repeat(100)}PING last\n`)
        assert.deepStrictEqual((yield* script.untilClosed).at(-1), "PONG last")
        const issuer = yield* connectTls(trust)
        const worker = yield* admitted(trust)
        issuer.socket.end("EXEC#x 1 uptime\n")
        yield* worker.until((line) => line.startsWith("EXEC#1 "))
        worker.send("RESULT#1 0 up")
        assert.deepStrictEqual((yield* issuer.untilClosed).at(-1), "RESULT#x 1 0 up")
      })
    )
  )
})

describe("clients with certificates", () => {
  it.live("get a rank only if the CA has signed it and it has a name", () =>
    withServer(
      ({ ca, issuer, trust }) =>
        Effect.gen(function* () {
          const other = issuer.authority("other")
          const first = yield* admitted({ ...trust, ...issuer.issue("first", ca, ["DNS = first"]) })
          assert.deepStrictEqual(yield* turnedAway(trust), [])
          assert.deepStrictEqual(
            yield* turnedAway({ ...trust, ...issuer.issue("foreign", other, ["DNS = first"]) }),
            []
          )
          assert.deepStrictEqual(yield* turnedAway({ ...trust, ...issuer.issue("nameless", ca, [], "first") }), [
            "ERROR - not authorized: your certificate names nobody"
          ])
          first.send("RANKS")
          assert.include((yield* first.until((line) => line.startsWith("END"))).join(), "END 1 ")
        }),
      ({ ca }) => ({ ca: ca.certPath })
    )
  )

  it.live("get their names only from the subjectAltName", () =>
    Effect.gen(function* () {
      const issuer = yield* certificates
      const ca = issuer.authority("ca")
      const { certPath: cert, keyPath: key } = issuer.issue("server", ca, LOCAL)
      const names = yield* Queue.unbounded<string | undefined>()
      const handle = Effect.fnUntraced(function* (socket: Socket.Socket) {
        yield* Socket.readerBytes(socket)
        const { certificate } = yield* (yield* TransportOf)(socket)
        yield* Queue.offer(names, certificate && Result.getOrUndefined(nameOf(certificate)))
      }, Effect.scoped)
      yield* Effect.gen(function* () {
        const { address, run } = yield* SocketServer.SocketServer
        const { port } = address as { readonly port: number }
        yield* Effect.forkScoped(run(handle))
        for (const [altNames, name] of [
          [["DNS = worker"], "worker"],
          [["IP = 10.0.0.1", "URI = rankd:worker", "DNS = other"], "worker"],
          [["email = boss@example.com", "DNS = *.example.com", "DNS = m1", "DNS = last"], "last"],
          [["DNS = evil, DNS:admin", "URI = rankd:ok"], "ok"],
          [["DNS = evil, DNS:admin"], undefined],
          [['DNS = evil\\", DNS:admin'], undefined],
          [["URI = http://x/, DNS:admin"], undefined],
          [["email = admin@example.com"], undefined]
        ] as const) {
          const issued = issuer.issue("client", ca, altNames, "x, DNS:subject")
          yield* Effect.provideService(connectTls({ ca: ca.cert, ...issued }), Port, port)
          assert.strictEqual(yield* Queue.take(names), name, altNames.join())
        }
      }).pipe(Effect.provide(NodeServer.layer({ host: "127.0.0.1", port: 0, tls: { cert, key, ca: ca.certPath } })))
    }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))
  )
})

describe("the TLS files", () => {
  it.live("are read again at a reload, without a disconnect; files that cannot be used change nothing", () =>
    withServer(({ ca, issuer, server, trust }) =>
      Effect.gen(function* () {
        const reload = yield* NodeServer.Reload
        const first = yield* admitted(trust)
        const shown = Effect.map(
          admitted(trust),
          ({ socket }) => (socket as TLSSocket).getPeerX509Certificate()!.subject
        )
        assert.strictEqual(yield* shown, "CN=server")
        const next = issuer.issue("next", ca, LOCAL)
        copyFileSync(next.certPath, server.certPath)
        assert.match((yield* Effect.flip(reload)).message, /^tls key: .*server\.key does not belong to .*server\.pem$/)
        assert.strictEqual(yield* shown, "CN=server")
        copyFileSync(next.keyPath, server.keyPath)
        yield* reload
        assert.strictEqual(yield* shown, "CN=next")
        writeFileSync(server.certPath, "")
        assert.match((yield* Effect.flip(reload)).message, /^tls cert: .*server\.pem is not a certificate in PEM$/)
        assert.strictEqual(yield* shown, "CN=next")
        rmSync(server.certPath)
        assert.strictEqual((yield* Effect.flip(reload)).message, `tls cert: no such file: ${server.certPath}`)
        assert.strictEqual(yield* shown, "CN=next")
        first.send("PING")
        yield* first.until((line) => line === "PONG")
      }).pipe(Effect.scoped)
    )
  )

  it.live("may have another CA at a reload, and a TLS session from before does not bypass it", () =>
    withServer(
      ({ ca, issuer, trust }) =>
        Effect.gen(function* () {
          const reload = yield* NodeServer.Reload
          const known = { ...trust, ...issuer.issue("client", ca, ["DNS = client"]) }
          const first = yield* admitted(known)
          const session = (first.socket as TLSSocket).getSession()!
          // Only one client at a time has the name in the certificate.
          first.send("QUIT")
          yield* first.untilClosed
          const resumed = yield* admitted({ ...known, session })
          assert.isTrue((resumed.socket as TLSSocket).isSessionReused())
          copyFileSync(issuer.authority("other").certPath, ca.certPath)
          yield* reload
          assert.deepStrictEqual(yield* turnedAway({ ...known, session }), [])
        }),
      ({ ca }) => ({ ca: ca.certPath })
    )
  )
})

describe("handshakes", () => {
  it.live("that stall are closed, and delay no client", () =>
    withServer(({ trust }) =>
      Effect.gen(function* () {
        const stalling = yield* stalled(100)
        // A byte now and then does not extend the time.
        const trickling = stalling[0]!.socket
        trickling.write(Buffer.from([0x16, 3, 1, 2, 0]))
        yield* Effect.forkScoped(
          Effect.forever(
            Effect.delay(
              Effect.sync(() => trickling.writable && trickling.write(Buffer.from([0]))),
              "100 millis"
            )
          )
        )
        const start = Date.now()
        const served = yield* admitted(trust)
        served.send("PING")
        yield* served.until((line) => line === "PONG")
        assert.isBelow(Date.now() - start, 1000)
        yield* closed(stalling, 100)
        assert.isBelow(Date.now() - start, 4000)
        served.send("PING")
        yield* served.until((line) => line === "PONG")
      })
    )
  )

  it.live("are limited in number, and finished ones do not count", () =>
    withServer(
      ({ trust }) =>
        Effect.gen(function* () {
          const first = yield* Effect.forEach(Array.from({ length: 8 }), () => admitted(trust))
          const stalling = yield* stalled(10)
          yield* closed(stalling, 5)
          // The server closes the oldest, so that a client that connects still gets its turn.
          assert.isTrue(stalling.slice(0, 5).every((wire) => wire.closed))
          yield* admitted(trust)
          yield* closed(stalling, 6)
          for (const { socket } of [...stalling, ...first.splice(4)]) socket.destroy()
          // A disconnect makes room at once, not only after the timeout.
          yield* Effect.eventually(admitted(trust)).pipe(Effect.timeout("5 seconds"))
          yield* closed(yield* stalled(10), 5)
          first[0]!.send("PING")
          yield* first[0]!.until((line) => line === "PONG")
        }),
      () => ({ maxHandshakes: 5, handshakeTimeout: Duration.seconds(20) })
    )
  )

  it.live("do not keep the server from stopping, even if they finish meanwhile", () =>
    Effect.gen(function* () {
      const start = yield* withServer(
        ({ trust }) =>
          Effect.gen(function* () {
            const port = yield* Port
            const [finishing] = Array.from({ length: 3 }, () => createConnection({ host: "127.0.0.1", port }))
            yield* Effect.callback<void>((resume) => void finishing!.once("connect", () => resume(Effect.void)))
            yield* Effect.sleep("50 millis")
            setTimeout(() => connectSecurely({ socket: finishing!, host: "127.0.0.1", ...trust }), 200)
            return Date.now()
          }),
        () => ({ handshakeTimeout: Duration.seconds(1) })
      )
      assert.isBelow(Date.now() - start, 3000)
    })
  )
})
