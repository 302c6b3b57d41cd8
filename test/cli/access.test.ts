/** Tokens for operators and users: the server's file, `rankd token`, and the commands that show one. */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankdHere } from "../support/cli.ts"
import { rankd, rankdCommand, says, shell } from "../support/process.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

const tokenOf = (stderr: string) => /^The token, which is shown this once: (\S+)\n$/.exec(stderr)![1]!

describe("tokens", { concurrent: true }, () => {
  it.live("admit clients until SIGHUP removes them, and appear in no output", () =>
    Effect.gen(function* () {
      const where = yield* folder
      const tokens = join(where, "tokens")
      const [boss, worker] = [yield* rankdHere(["token", "--name", "boss"]), yield* rankdHere(["token", "--json"])]
      assert.match(boss.stdout, /^sha256:[0-9a-f]{64} name=boss\n$/)
      const { line, token } = JSON.parse(worker.stdout)
      writeFileSync(tokens, `${boss.stdout}${line}\n`)
      const server = yield* rankd(["--port", "0", "--token-file", tokens, "--auth-timeout", "20"])
      const first = yield* server.connect
      first.send("RANKS", `AUTH ${tokenOf(boss.stderr)}`, "RANKS")
      const heard = yield* first.until((line) => line.startsWith("END"))
      assert.match(
        heard.join("\n"),
        /^ERROR - not authorized: say AUTH <token> first\nRANK 0 1 \d+ m1\nMEMBER 0 m1 boss .*\nEND/
      )

      const [, port] = /:(\d+)$/m.exec(server.stdout())!
      const file = join(where, "mine")
      writeFileSync(file, `${token}\n`)
      const to = ["ranks", "--port", port!]
      const listed = yield* rankdHere([...to, "--token-from", file])
      assert.deepStrictEqual([listed.status, listed.stdout.split("\n").length], [0, 4])
      const without = yield* rankdHere(to)
      assert.strictEqual(without.status, 69)
      assert.strictEqual(
        without.stderr,
        "rankd: not admitted: not authorized: say AUTH <token> first. " +
          "Show a token that the server knows with --token-from or RANKD_TOKEN, or a certificate with --cert\n"
      )
      // A file with an error changes nothing.
      appendFileSync(tokens, "oh\n")
      server.child.kill("SIGHUP")
      yield* says(server.stderr, /level=ERROR .*line 3 of the token file .*The server keeps what it had.* what=tokens/)
      first.send("PING")
      yield* first.until((line) => line === "PONG")
      writeFileSync(tokens, `${line}\n`)
      server.child.kill("SIGHUP")
      assert.deepStrictEqual(yield* first.untilClosed, ["BYE kicked"])
      assert.strictEqual((yield* rankdHere([...to, "--token-from", file])).status, 0)
      server.child.kill("SIGTERM")
      assert.strictEqual(yield* server.exit, 0)
      for (const secret of [token, tokenOf(boss.stderr)]) assert.isFalse(server.stderr().includes(secret))
    }).pipe(Effect.scoped)
  )

  it.live("stay on lines of their own in a file whose last line has no end", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "tokens")
      const first = "the-first-token-of-the-file"
      writeFileSync(file, first)
      const redirected = yield* shell(`exec ${rankdCommand} token --name worker >>${file}`)
      assert.strictEqual(yield* redirected.exit, 0)
      const appended = yield* rankdHere(["token", "--name", "boss", "--append", file])
      assert.deepStrictEqual([appended.status, appended.stdout], [0, ""])
      tokenOf(appended.stderr)
      const lines = readFileSync(file, "utf8").split("\n")
      assert.deepStrictEqual(
        lines.map((line) => line.replace(/[0-9a-f]{64}/, "HEX")),
        [first, "sha256:HEX name=worker", "sha256:HEX name=boss", ""]
      )
    }).pipe(Effect.scoped)
  )

  it.live("stay whole where the token is printed into the same file", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "tokens")
      writeFileSync(file, "the-first-token-of-the-file")
      const run = yield* shell(`exec ${rankdCommand} token --name worker >>${file} 2>&1`)
      assert.strictEqual(yield* run.exit, 0)
      const [first, shown, ...rest] = readFileSync(file, "utf8").split("\n").filter(Boolean)
      assert.strictEqual(first, "the-first-token-of-the-file")
      assert.match(shown!, /^The token, which is shown this once: \S+$/)
      assert.match(rest.join("\n"), /^sha256:[0-9a-f]{64} name=worker$/)
    }).pipe(Effect.scoped)
  )

  it.live("are shown only if their line is in the file", () =>
    Effect.gen(function* () {
      const where = yield* folder
      const [pipe, full] = [join(where, "pipe"), join(where, "full")]
      writeFileSync(full, "#".repeat(1000))
      const made = yield* shell(`mkfifo ${pipe}`)
      yield* made.exit
      for (const [file, limit, reason] of [
        [pipe, "", "not a file"],
        ["/dev/null", "", "not a file"],
        ["/dev/full", "", "not a file"],
        // As a disk that is full after half of the line.
        [full, "prlimit --fsize=1030 ", "no space left on device"],
        ['""', "", "no such file or directory"]
      ] as const) {
        const run = yield* shell(`exec ${limit}${rankdCommand} token --append ${file}`)
        assert.deepStrictEqual(
          [yield* run.exit, run.stdout(), run.stderr()],
          [2, "", `rankd: --append ${file}: ${reason}\n`]
        )
      }
      assert.strictEqual(readFileSync(full, "utf8"), "#".repeat(1000))
    }).pipe(Effect.scoped)
  )

  it.live("make a file that only its owner can read", () =>
    Effect.gen(function* () {
      const where = yield* folder
      const file = join(where, "tokens")
      const made = yield* rankdHere(["token", "--append", file, "--json"])
      assert.strictEqual(readFileSync(file, "utf8"), `${JSON.parse(made.stdout).line}\n`)
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      // Nobody gets a token that no file has.
      const failed = yield* rankdHere(["token", "--append", join(where, "no", "file")])
      assert.deepStrictEqual([failed.status, failed.stdout], [2, ""])
      assert.strictEqual(failed.stderr, `rankd: --append ${where}/no/file: no such file or directory\n`)
      // What the shell has emptied begins with the token.
      const emptied = yield* shell(`exec ${rankdCommand} token >${file}`)
      assert.strictEqual(yield* emptied.exit, 0)
      assert.match(readFileSync(file, "utf8"), /^sha256:[0-9a-f]{64}\n$/)
    }).pipe(Effect.scoped)
  )

  it.live.each([
    [
      ["--host", "0.0.0.0"],
      /with --host 0\.0\.0\.0, anyone who reaches the port could connect .* --token-file .* --insecure/
    ],
    [["--host", "192.0.2.1"], /could connect/],
    [["--host", "127.0.0.1.example.org"], /could connect/],
    [["--port", "0", "--token-file", "/no/such/file"], /^rankd: --token-file: no such file: \/no\/such\/file\./]
  ] as const)("or another protection are required on a network: %s", ([args, message]) =>
    Effect.gen(function* () {
      const { status, stderr, stdout } = yield* rankdHere(args)
      assert.deepStrictEqual([status, stdout], [69, ""])
      assert.match(stderr, message)
    })
  )
})
