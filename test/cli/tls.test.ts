/** What the command line does with TLS. */
import { copyFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { TLSSocket } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { certificates, LOCAL } from "../support/certificates.ts"
import { rankdHere } from "../support/cli.ts"
import { rankd, says } from "../support/process.ts"
import { connectTls, Port, serverLayer } from "../support/wire.ts"

/** A CA, and a certificate of it for the server. */
const made = Effect.gen(function* () {
  const issuer = yield* certificates
  const ca = issuer.authority("ca")
  const server = issuer.issue("server", ca, LOCAL)
  return { issuer, ca, server, tls: { cert: server.certPath, key: server.keyPath } }
})

const to = Effect.map(Port, (port) => ["--port", `${port}`] as const)

describe("the commands that connect", { concurrent: true, timeout: 60_000 }, () => {
  it.live("do so over TLS", () =>
    Effect.gen(function* () {
      const { ca, tls } = yield* made
      yield* Effect.gen(function* () {
        const ranks = yield* rankdHere(["ranks", ...(yield* to), "--ca", ca.certPath])
        assert.strictEqual(ranks.stderr, "")
        assert.match(ranks.stdout, /^MEMBER 0 m1 - 127\.0\.0\.1:\d+\nEND 1 \d+\n$/)
        const script = yield* rankdHere(
          ["connect", ...(yield* to), "--host", "localhost", "--ca", ca.certPath],
          Effect.succeed("PING it\n")
        )
        assert.deepStrictEqual(script, { status: 0, stdout: "PONG it\n", stderr: "" })
        const boss = yield* connectTls({ ca: ca.cert })
        yield* boss.until((line) => line.startsWith("RANK"))
        const env = { RANKD_CA: ca.certPath, RANKD_PORT: `${yield* Port}` }
        const agent = yield* rankd(["agent", "--name", "worker"], env)
        yield* says(agent.stderr, /rank 1 of 2/)
        boss.send("EXEC#1 @worker uptime")
        yield* boss.until((line) => line.startsWith("RESULT#1 1 0"))
        assert.strictEqual(agent.stdout(), "executed: uptime\n")
      }).pipe(Effect.provide(serverLayer({}, tls)))
    }).pipe(Effect.scoped)
  )

  it.live("say at once why a server is not trusted, or does not trust them", () =>
    Effect.gen(function* () {
      const { ca, issuer, server, tls } = yield* made
      const wrong = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
        const { status, stderr } = yield* rankdHere(["ranks", ...(yield* to), ...args])
        assert.strictEqual(status, 69)
        return stderr
      })
      yield* Effect.gen(function* () {
        assert.match(
          yield* wrong("--tls"),
          /^rankd: the server's certificate is not trusted: .*\. Give its CA with --ca\n$/
        )
        const agent = yield* rankd(["agent", "--tls", ...(yield* to)])
        yield* says(agent.stderr, /rankd: the server's certificate is not trusted: .* with --ca; trying again\n/)
      }).pipe(Effect.provide(serverLayer({}, tls)))
      const elsewhere = issuer.issue("elsewhere", ca, ["DNS = elsewhere"])
      assert.match(
        yield* Effect.provide(
          wrong("--ca", ca.certPath),
          serverLayer({}, { cert: elsewhere.certPath, key: elsewhere.keyPath })
        ),
        /^rankd: the server's certificate is for another name: .* with --host as its certificate does\n$/
      )
      yield* Effect.gen(function* () {
        assert.strictEqual(
          yield* wrong("--ca", ca.certPath),
          "rankd: the server wants a certificate. Give one with --cert and --key\n"
        )
        const nameless = issuer.issue("nameless", ca, [])
        assert.strictEqual(
          yield* wrong("--ca", ca.certPath, "--cert", nameless.certPath, "--key", nameless.keyPath),
          "rankd: not admitted: not authorized: your certificate names nobody. " +
            "Show a token that the server knows, with --token-from or RANKD_TOKEN, or a certificate, with --cert\n"
        )
        const worker = issuer.issue("worker", ca, ["DNS = worker"])
        const flags = ["--ca", ca.certPath, "--cert", worker.certPath, "--key", worker.keyPath]
        assert.strictEqual((yield* rankdHere(["ranks", ...(yield* to), ...flags])).status, 0)
      }).pipe(Effect.provide(serverLayer({}, { ...tls, ca: ca.certPath })))
      assert.strictEqual(
        yield* Effect.provide(wrong("--tls"), serverLayer()),
        "rankd: the server does not speak TLS. Leave out --tls, --ca, --cert and --key\n"
      )
      for (const [args, message] of [
        [["--cert", server.certPath], "--cert is of no use alone. Give --key, too"],
        [["--ca", "/no/such"], "--ca /no/such cannot be read: NotFound. Name a file in PEM"],
        [
          ["--cert", server.certPath, "--key", ca.keyPath],
          /^--ca, --cert and --key cannot be used: .*key values mismatch/
        ]
      ] as const) {
        const { status, stderr } = yield* rankdHere(["ranks", "--port", "1", ...args])
        assert.strictEqual(status, 2)
        if (typeof message === "string") assert.strictEqual(stderr, `rankd: ${message}\n`)
        else assert.match(stderr.slice("rankd: ".length), message)
      }
    }).pipe(Effect.scoped)
  )
})

describe("rankd serve", { concurrent: true, timeout: 60_000 }, () => {
  it.live("reads the files of TLS again on SIGHUP", () =>
    Effect.gen(function* () {
      const { ca, issuer, server } = yield* made
      const run = yield* rankd(["--port", "0"], { RANKD_TLS_CERT: server.certPath, RANKD_TLS_KEY: server.keyPath })
      yield* says(run.stdout, /^rankd listening on 127\.0\.0\.1:\d+\n$/)
      const port = Number(/:(\d+)\n/.exec(run.stdout())![1])
      yield* says(run.stderr, new RegExp(`^Try it: openssl s_client -quiet -connect 127\\.0\\.0\\.1:${port}, in`))
      const connected = Effect.tap(connectTls({ ca: ca.cert }), (wire) =>
        wire.until((line) => line.startsWith("RANK"))
      ).pipe(Effect.provide(Layer.succeed(Port, port)))
      const subject = Effect.map(connected, ({ socket }) => (socket as TLSSocket).getPeerX509Certificate()!.subject)
      const first = yield* connected
      const next = issuer.issue("next", ca, LOCAL)
      copyFileSync(next.certPath, server.certPath)
      run.child.kill("SIGHUP")
      yield* says(
        run.stderr,
        /level=ERROR .*.*server\.key: it does not belong to .*What was read before still holds.* what=TLS/
      )
      assert.strictEqual(yield* subject, "CN=server")
      copyFileSync(next.keyPath, server.keyPath)
      run.child.kill("SIGHUP")
      yield* says(run.stderr, /level=INFO .*message=reloaded what=TLS/)
      assert.strictEqual(yield* subject, "CN=next")
      first.send("PING")
      yield* first.until((line) => line === "PONG")
      // What comes of strangers is told of, but not more often than a person can read.
      for (let i = 0; i < 20; i++)
        yield* Effect.flip(connectTls({ maxVersion: "TLSv1.2" })).pipe(Effect.provideService(Port, port))
      yield* says(run.stderr, /TLS handshake failed.*reason=ERR_SSL_UNSUPPORTED_PROTOCOL/)
      assert.strictEqual(run.stderr().match(/TLS handshake failed/g)!.length, 1)
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
    }).pipe(Effect.scoped)
  )

  it.live("ends on SIGHUP where there is nothing to read again", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"])
      yield* run.connect
      run.child.kill("SIGHUP")
      assert.strictEqual(yield* run.exit, null)
    }).pipe(Effect.scoped)
  )

  it.live("says what is wrong with the files, and does not start", () =>
    Effect.gen(function* () {
      const { ca, issuer, server } = yield* made
      const [cert, key] = [server.certPath, server.keyPath]
      const text = join(issuer.folder, "text")
      writeFileSync(text, "no PEM")
      for (const [args, status, says] of [
        [
          ["--tls-cert", "/no/such", "--tls-key", key],
          69,
          "cannot speak TLS: --tls-cert /no/such: there is no such file. Name the PEM file of a certificate, and of those between it and its CA"
        ],
        [
          ["--tls-cert", text, "--tls-key", key],
          69,
          `cannot speak TLS: --tls-cert ${text}: it is not a certificate in PEM. Name the PEM file of a certificate, and of those between it and its CA`
        ],
        [
          ["--tls-cert", cert, "--tls-key", ca.keyPath],
          69,
          `cannot speak TLS: --tls-key ${ca.keyPath}: it does not belong to ${cert}. Name the PEM file of the private key that the certificate was made for`
        ],
        [
          ["--tls-cert", cert, "--tls-key", key, "--tls-ca", key],
          69,
          `cannot speak TLS: --tls-ca ${key}: it is not a certificate in PEM. Name the PEM file of the CA that signs the certificates of clients`
        ],
        [
          ["--tls-cert", cert],
          2,
          `Invalid value for flag --tls-cert: "${cert}". Expected: --tls-key beside it, the private key`
        ],
        [
          ["--tls-key", key],
          2,
          `Invalid value for flag --tls-key: "${key}". Expected: --tls-cert beside it, the certificate`
        ],
        [
          ["--tls-ca", cert],
          2,
          `Invalid value for flag --tls-ca: "${cert}". Expected: --tls-cert and --tls-key beside it`
        ]
      ] as const) {
        const ended = yield* rankdHere(["serve", "--port", "0", ...args])
        assert.strictEqual(ended.stderr.split("\n")[0], `rankd: ${says}`)
        assert.strictEqual(ended.status, status)
      }
    }).pipe(Effect.scoped)
  )
})
