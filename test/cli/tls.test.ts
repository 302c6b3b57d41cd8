/** TLS on the command line. */
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

describe("the commands that connect", { concurrent: true }, () => {
  it.live("connect over TLS", () =>
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

  it.live("say at once why they do not trust a server, or it does not trust them", () =>
    Effect.gen(function* () {
      const { ca, issuer, server, tls } = yield* made
      const wrong = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
        const { status, stderr } = yield* rankdHere(["ranks", ...(yield* to), ...args])
        assert.strictEqual(status, 69)
        return stderr
      })
      const elsewhere = issuer.issue("elsewhere", ca, ["DNS = elsewhere"])
      const nameless = issuer.issue("nameless", ca, [])
      const worker = issuer.issue("worker", ca, ["DNS = worker"])
      const foreign = issuer.issue("foreign", issuer.authority("other"), ["DNS = worker"])
      const untrusted = Effect.gen(function* () {
        assert.match(
          yield* wrong("--tls"),
          /^rankd: the server's certificate is not trusted: .*\. Give its CA with --ca\n$/
        )
        const agent = yield* rankd(["agent", "--tls", ...(yield* to)])
        yield* says(agent.stderr, /rankd: the server's certificate is not trusted: .* with --ca; trying again\n/)
      }).pipe(Effect.provide(serverLayer({}, tls)))
      const otherName = Effect.gen(function* () {
        assert.match(
          yield* wrong("--ca", ca.certPath),
          /^rankd: the server's certificate is for another name: .* with --host as its certificate does\n$/
        )
      }).pipe(Effect.provide(serverLayer({}, { cert: elsewhere.certPath, key: elsewhere.keyPath })))
      const certificates = Effect.gen(function* () {
        const flags = ["--ca", ca.certPath, "--cert", worker.certPath, "--key", worker.keyPath]
        assert.strictEqual((yield* rankdHere(["ranks", ...(yield* to), ...flags])).status, 0)
        const server = `127.0.0.1:${yield* Port}`
        const messages = yield* Effect.all(
          [
            wrong("--ca", ca.certPath),
            wrong("--ca", ca.certPath, "--cert", nameless.certPath, "--key", nameless.keyPath),
            wrong("--ca", ca.certPath, "--cert", foreign.certPath, "--key", foreign.keyPath),
            wrong()
          ],
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(messages, [
          "rankd: the server wants a certificate. Give one with --cert and --key\n",
          "rankd: not admitted: not authorized: your certificate names nobody. " +
            "Show a token that the server knows with --token-from or RANKD_TOKEN, or a certificate with --cert\n",
          `rankd: ${server} closes the connection. Is the certificate of --cert from a CA that it trusts?\n`,
          `rankd: ${server} closes the connection. If it speaks TLS, give --tls\n`
        ])
      }).pipe(Effect.provide(serverLayer({}, { ...tls, ca: ca.certPath })))
      const noTls = Effect.gen(function* () {
        assert.strictEqual(
          yield* wrong("--tls"),
          "rankd: the server does not speak TLS. Leave out --tls, --ca, --cert and --key\n"
        )
      }).pipe(Effect.provide(serverLayer()))
      yield* Effect.all([untrusted, otherName, certificates, noTls].map(Effect.scoped), { concurrency: "unbounded" })
      for (const [args, message] of [
        [["--cert", server.certPath], "--cert needs --key. Give both\n"],
        [["--key", server.keyPath], "--key needs --cert. Give both\n"],
        [
          ["--cert", server.certPath, "--key", ca.keyPath],
          /^--ca, --cert and --key cannot be used: .*key values mismatch/
        ]
      ] as const) {
        const { status, stderr } = yield* rankdHere(["ranks", "--port", "1", ...args])
        assert.strictEqual(status, 2)
        if (typeof message === "string") assert.strictEqual(stderr, `rankd: ${message}`)
        else assert.match(stderr.slice("rankd: ".length), message)
      }
    }).pipe(Effect.scoped)
  )
})

describe("rankd serve", { concurrent: true }, () => {
  it.live("reloads the TLS files on SIGHUP", () =>
    Effect.gen(function* () {
      const { ca, issuer, server } = yield* made
      const run = yield* rankd(["--port", "0"], { RANKD_TLS_CERT: server.certPath, RANKD_TLS_KEY: server.keyPath })
      yield* says(run.stdout, /^rankd listening on 127\.0\.0\.1:\d+\n$/)
      const port = Number(/:(\d+)\n/.exec(run.stdout())![1])
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
        /level=ERROR .*tls key: .*server\.key does not belong to .*The server keeps what it had.* what=TLS/
      )
      assert.strictEqual(yield* subject, "CN=server")
      copyFileSync(next.keyPath, server.keyPath)
      run.child.kill("SIGHUP")
      yield* says(run.stderr, /level=INFO .*message=reloaded what=TLS/)
      assert.strictEqual(yield* subject, "CN=next")
      first.send("PING")
      yield* first.until((line) => line === "PONG")
      // A client that never finishes its handshake cannot flood the log.
      for (let i = 0; i < 20; i++)
        yield* Effect.flip(connectTls({ maxVersion: "TLSv1.2" })).pipe(Effect.provideService(Port, port))
      yield* says(run.stderr, /TLS handshake failed.*reason=ERR_SSL_UNSUPPORTED_PROTOCOL/)
      assert.strictEqual(run.stderr().match(/TLS handshake failed/g)!.length, 1)
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
    }).pipe(Effect.scoped)
  )

  it.live("does not start with a wrong file, and says what is wrong", () =>
    Effect.gen(function* () {
      const { ca, issuer, server } = yield* made
      const [cert, key] = [server.certPath, server.keyPath]
      const text = join(issuer.folder, "text")
      writeFileSync(text, "no PEM")
      for (const [args, status, says] of [
        [
          ["--tls-cert", "/no/such", "--tls-key", key],
          69,
          "--tls-cert: no such file: /no/such. Name the PEM file of a certificate, and of those between it and its CA"
        ],
        [
          ["--tls-cert", text, "--tls-key", key],
          69,
          `cannot speak TLS: --tls-cert: ${text} is not a certificate in PEM. Name the PEM file of a certificate, and of those between it and its CA`
        ],
        [
          ["--tls-cert", cert, "--tls-key", ca.keyPath],
          69,
          `cannot speak TLS: --tls-key: ${ca.keyPath} does not belong to ${cert}. Name the PEM file of the private key that the certificate was made for`
        ],
        [
          ["--tls-cert", cert, "--tls-key", key, "--tls-ca", key],
          69,
          `cannot speak TLS: --tls-ca: ${key} is not a certificate in PEM. Name the PEM file of the CA that signs the certificates of clients`
        ],
        [["--tls-cert", cert], 2, "--tls-cert needs --tls-key, the private key of the certificate"],
        [["--tls-key", key], 2, "--tls-key needs --tls-cert, the certificate of the key"],
        [["--tls-ca", cert], 2, "--tls-ca needs --tls-cert and --tls-key, the server's own"]
      ] as const) {
        const ended = yield* rankdHere(["serve", "--port", "0", ...args])
        assert.strictEqual(ended.stderr.split("\n")[0], `rankd: ${says}`)
        assert.strictEqual(ended.status, status)
      }
    }).pipe(Effect.scoped)
  )
})
