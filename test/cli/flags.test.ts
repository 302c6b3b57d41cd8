/** Flags and environment variables: the errors, the help, and the table in the docs. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { markdown } from "../../src/cli/flags/rows.ts"
import { rows } from "../../src/cli/serve/flags.ts"
import { limits } from "../../src/server/Settings.ts"
import { rankdHere } from "../support/cli.ts"

/** The first line of an error, without `rankd: `. A usage error shows the usage, and where to find help, below it. */
const usageError = Effect.fnUntraced(function* (args: ReadonlyArray<string>, env: Record<string, string> = {}) {
  const { status, stderr, stdout } = yield* rankdHere(args, undefined, env)
  const [first, usage, help] = stderr.split("\n")
  assert.deepStrictEqual([status, stdout], [2, ""])
  assert.match(usage!, /^usage: rankd /)
  assert.match(help!, /^Try: rankd .*--help$/)
  return first!.replace(/^rankd: /, "")
})

const lines = (value: string) => value.trim().split("\n")

describe("a wrong flag", () => {
  it.live.each([
    [["--port", "x"], "--port x: not a port (a whole number from 0 to 65535)"],
    [["serve", "--port", "65536"], "--port 65536: not a port (a whole number from 0 to 65535)"],
    [["--port", ""], '--port "": not a port (a whole number from 0 to 65535)'],
    [["--port", "0x10"], "--port 0x10: not a port (a whole number from 0 to 65535)"],
    [["ranks", "--port", "0"], "--port 0: not a port (a whole number from 1 to 65535)"],
    [["--port"], "--port needs a value"],
    [["--port", "1", "--port", "2"], "--port appears 2 times. Give it once"],
    [["--host", ""], '--host "": not a name or an address'],
    [["--host", "a b"], '--host "a b": not a name or an address'],
    [["ranks", "--host", "localhost:5000"], "--host localhost:5000: not a name or an address"],
    [["ranks", "--host", "tcp://10.96.12.3:5000"], "--host tcp://10.96.12.3:5000: not a name or an address"],
    [["agent", "--host", "[127.0.0.1]"], "--host [127.0.0.1]: not a name or an address"],
    [["lead", "--host", "[::1", "--", "ls"], "--host [::1: not a name or an address"],
    [["--max-clients", "0"], "--max-clients 0: not a whole number from 1 to 1000000"],
    [["--max-line", "1e3.5"], "--max-line 1e3.5: not a whole number of bytes from 512 to 16777216"],
    [["--grace", "5s"], "--grace 5s: not a whole number of seconds from 0 to 604800"],
    [["--admission", "later"], "--admission later: not one of connect, hello"],
    [["--insecure=maybe"], "--insecure maybe: not one of true, yes, on, 1, y, false, no, off, 0, n"],
    [["agent", "--name", "a b"], '--name "a b": not a name (1-64 of A-Z a-z 0-9 . _ -, unlike a member id such as m1)'],
    [["ranks", "--group", "a b"], '--group "a b": not a group (1-64 of A-Z a-z 0-9 . _ -)'],
    [["token", "--groups", "a,"], "--groups a,: not a list of groups (jobs,backups)"],
    [["lead"], "missing <command>"],
    [["ranks", "all"], "unexpected all"]
  ] as const)("is named with its value and what it should be: %j", ([args, message]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* usageError(args), message)
    })
  )

  it.live.each([
    [["--max-line", "1000000"], "--max-pending 1048576: less than 4 times --max-line. Give 4000000 or more"],
    [["--max-pending", "300000000"], "--max-total-pending 268435456: less than --max-pending. Give 300000000 or more"],
    [["--command-timeout", "7200"], "--max-command-timeout 3600: less than --command-timeout. Give 7200 or more"],
    [["--tls-cert", "x"], "--tls-cert needs --tls-key, the private key of the certificate"],
    [["--tls-key", "x"], "--tls-key needs --tls-cert, the certificate of the key"],
    [["--tls-ca", "x"], "--tls-ca needs --tls-cert and --tls-key, the server's own"]
  ] as const)("is named with the flag that it does not go with: %j", ([args, message]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* usageError(args), message)
    })
  )

  it.live.each([
    [["--prot", "1"], "unknown flag --prot. Did you mean --port?"],
    [["serve", "--max-client", "1"], "unknown flag --max-client. Did you mean --max-clients?"],
    [["agent", "--polcy", "x"], "unknown flag --polcy. Did you mean --policy?"],
    [["--bogus"], "unknown flag --bogus"],
    [["wacth"], "unknown command wacth. Did you mean watch?"],
    [["hlep"], "unknown command hlep. Did you mean help?"],
    [["help", "agnet"], "unknown command agnet. Did you mean agent?"],
    [["frob"], "unknown command frob"]
  ] as const)("or command that is unknown gets the nearest one suggested: %j", ([args, message]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* usageError(args), message)
    })
  )
})

describe("a wrong environment variable", () => {
  it.live.each([
    [[], { RANKD_PORT: "abc" }, "RANKD_PORT=abc: not a port (a whole number from 0 to 65535)"],
    [["serve"], { RANKD_GRACE: "-1" }, "RANKD_GRACE=-1: not a whole number of seconds from 0 to 604800"],
    [["serve"], { RANKD_TLS_MIN_VERSION: "1" }, "RANKD_TLS_MIN_VERSION=1: not one of 1.3, 1.2"],
    [["serve"], { RANKD_INSECURE: "perhaps" }, "RANKD_INSECURE=perhaps: not true or false"],
    [["connect"], { RANKD_PORT: "70000" }, "RANKD_PORT=70000: not a port (a whole number from 1 to 65535)"],
    [["lead", "ls"], { RANKD_TLS: "perhaps" }, "RANKD_TLS=perhaps: not true or false"],
    [
      ["agent"],
      { RANKD_AGENT_TIMEOUT: "1m" },
      "RANKD_AGENT_TIMEOUT=1m: not a whole number of seconds from 1 to 604800"
    ],
    [["agent"], { RANKD_AGENT_MAX_RUNNING: "0" }, "RANKD_AGENT_MAX_RUNNING=0: not a whole number from 1 to 10000"],
    [["watch"], { RANKD_CA: "no/ca" }, "RANKD_CA: no such file: no/ca. Name the PEM file of the CA"],
    [["ranks"], { RANKD_HOST: "tcp://10.96.12.3:5000" }, "RANKD_HOST=tcp://10.96.12.3:5000: not a name or an address"],
    [["serve"], { RANKD_PORT: " 5000\n" }, 'RANKD_PORT=" 5000\\n": not a port (a whole number from 0 to 65535)'],
    [
      ["serve"],
      { RANKD_MAX_LINE: "1000000" },
      "--max-pending 1048576: less than 4 times RANKD_MAX_LINE=1000000. Give 4000000 or more"
    ],
    [
      ["--max-line", "1000000"],
      { RANKD_MAX_PENDING: "70000" },
      "RANKD_MAX_PENDING=70000: less than 4 times --max-line. Give 4000000 or more"
    ],
    [
      ["serve"],
      { RANKD_COMMAND_TIMEOUT: "7200" },
      "--max-command-timeout 3600: less than RANKD_COMMAND_TIMEOUT=7200. Give 7200 or more"
    ],
    [["serve"], { RANKD_TLS_CERT: "x" }, "RANKD_TLS_CERT=x needs --tls-key, the private key of the certificate"],
    [["serve"], { RANKD_TLS_KEY: "x" }, "RANKD_TLS_KEY=x needs --tls-cert, the certificate of the key"],
    [["serve"], { RANKD_TLS_CA: "x" }, "RANKD_TLS_CA=x needs --tls-cert and --tls-key, the server's own"]
  ] as const)("is named with its value: %j", ([args, env, message]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* usageError(args, env), message)
    })
  )

  it.live.each([
    [
      ["ranks"],
      { RANKD_CA: "/proc/self/mem" },
      2,
      "RANKD_CA=/proc/self/mem cannot be read: i/o error. Name a PEM file"
    ],
    [["lead", "--", "ls"], { RANKD_CERT: "package.json" }, 2, "RANKD_CERT=package.json needs --key. Give both"],
    [
      ["watch"],
      { RANKD_CERT: "package.json", RANKD_KEY: "LICENSE" },
      2,
      /^--ca, RANKD_CERT=package\.json and RANKD_KEY=LICENSE cannot be used: /
    ],
    [["ranks"], { RANKD_HOST: "no-such-host.invalid" }, 69, /RANKD_HOST=no-such-host\.invalid/],
    [
      ["serve"],
      { RANKD_HOST: "0.0.0.0" },
      69,
      /^with RANKD_HOST=0\.0\.0\.0, anyone who reaches the port could connect/
    ],
    [
      ["serve", "--insecure"],
      { RANKD_HOST: "192.0.2.1" },
      69,
      /: RANKD_HOST=192\.0\.2\.1 is not an address of this machine/
    ],
    [["serve"], { RANKD_TOKEN_FILE: "LICENSE" }, 69, /^RANKD_TOKEN_FILE: line 1 of the token file LICENSE: /],
    [
      ["serve", "--port", "0", "--tls-key", "LICENSE"],
      { RANKD_TLS_CERT: "package.json" },
      69,
      /^cannot speak TLS: RANKD_TLS_CERT: package\.json is not a certificate/
    ]
  ] as const)("is named where its value turns out to be wrong later: %j", ([args, env, status, message]) =>
    Effect.gen(function* () {
      const ended = yield* rankdHere(args, undefined, env as Record<string, string>)
      assert.strictEqual(ended.status, status)
      const said = ended.stderr.replace(/^rankd: /, "").trimEnd()
      if (typeof message === "string") assert.strictEqual(said, message)
      else assert.match(said, message)
    })
  )

  it.live("is not named if its flag overrides it", () =>
    Effect.gen(function* () {
      const message = yield* usageError(["--tls-cert", "y", "--max-line", "1000000"], {
        ...{ RANKD_TLS_CERT: "x", RANKD_TLS_KEY: "z" },
        RANKD_MAX_LINE: "1000"
      })
      assert.strictEqual(message, "--max-pending 1048576: less than 4 times --max-line. Give 4000000 or more")
    })
  )

  it.live("is named for every flag that has one", () =>
    Effect.gen(function* () {
      for (const { name, variable } of Object.values(rows)) {
        // A file is looked for later.
        if (name === "token-file" || /^tls-(?:cert|key|ca)$/.test(name)) continue
        assert.match(yield* usageError([], { [variable!]: "?" }), new RegExp(`^${variable}=\\?: not `))
      }
    })
  )

  it.live("is overridden by its flag, and empty it counts as missing", () =>
    Effect.gen(function* () {
      for (const env of [{ RANKD_PORT: "abc" }, { RANKD_HOST: "" }, { RANKD_TLS_CA: "" }, { RANKD_GRACE: "" }]) {
        // Every flag is read before those that do not go together are found.
        const message = yield* usageError(["--port", "0", "--tls-cert", "x"], env as Record<string, string>)
        assert.match(message, /^--tls-cert needs/)
      }
    })
  )

  it.live.each(["serve", "ranks", "agent"] as const)(
    "is ignored with a warning if it is the address of a service, as Kubernetes sets it: %s",
    (command) =>
      Effect.gen(function* () {
        const link = "tcp://10.96.12.3:5000"
        // The port of the flag's default is not the question: another flag is wrong.
        const args = { serve: ["--tls-cert", "x"], ranks: ["--group", ""], agent: ["--group", ""] }[command]
        const { status, stderr } = yield* rankdHere([command, ...args], undefined, { RANKD_PORT: link })
        assert.strictEqual(status, 2)
        const [warning, error, ...more] = stderr.split("\n")
        assert.include(warning, "level=WARN")
        assert.include(warning, `RANKD_PORT=${link} is the address of a service. It is ignored`)
        assert.match(error!, /^rankd: --(?:tls-cert needs|group "":)/)
        assert.notInclude(more.join("\n"), link)
        const wrong = yield* usageError(["serve"], { RANKD_PORT: "tcp://10.96.12.3" })
        assert.match(wrong, /^RANKD_PORT=tcp:\/\/10\.96\.12\.3: not a port/)
      })
  )

  it.live("with a secret is named without it", () =>
    Effect.gen(function* () {
      const { status, stderr } = yield* rankdHere(["ranks"], undefined, { RANKD_TOKEN: "two words" })
      assert.deepStrictEqual(
        [status, stderr],
        [2, "rankd: RANKD_TOKEN: not a token (one word of printable characters)\n"]
      )
    })
  )
})

describe("a missing file", () => {
  it.live.each([
    [["agent", "--policy", "no/x"], "--policy: no such file: no/x. Name a file with a pattern on each line"],
    [["agent", "--policy", "src"], "--policy: not a file: src. Name a file with a pattern on each line"],
    [["agent", "--cwd", "no/x"], "--cwd: no such folder: no/x"],
    [["agent", "--cwd", "package.json"], "--cwd: not a folder: package.json"],
    [["ranks", "--token-from", "no/x"], "--token-from: no such file: no/x. Name a file that contains the token"],
    [["ranks", "--ca", "no/x"], "--ca: no such file: no/x. Name the PEM file of the CA"],
    [["ranks", "--cert", "no/x"], "--cert: no such file: no/x. Name the PEM file of the certificate"],
    [["ranks", "--key", "no/x"], "--key: no such file: no/x. Name the PEM file of the private key"]
  ] as const)("is named as it was typed, and what it should contain: %j", ([args, message]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* usageError(args), message)
    })
  )

  it.live("keeps a server from starting", () =>
    Effect.gen(function* () {
      for (const [args, env, message] of [
        [["--token-file", "no/x"], {}, "--token-file: no such file: no/x. rankd token makes the lines of one"],
        [[], { RANKD_TOKEN_FILE: "no/x" }, "RANKD_TOKEN_FILE: no such file: no/x. rankd token makes the lines of one"],
        [
          ["--tls-cert", "no/x", "--tls-key", "package.json"],
          {},
          "--tls-cert: no such file: no/x. Name the PEM file of a certificate, and of those between it and its CA"
        ],
        [
          ["--tls-cert", "package.json"],
          { RANKD_TLS_KEY: "no/x" },
          "RANKD_TLS_KEY: no such file: no/x. Name the PEM file of the private key that the certificate was made for"
        ],
        [
          ["--tls-cert", "package.json", "--tls-key", "package.json", "--tls-ca", "no/x"],
          {},
          "--tls-ca: no such file: no/x. Name the PEM file of the CA that signs the certificates of clients"
        ]
      ] as const) {
        const ended = yield* rankdHere(["serve", "--port", "0", ...args], undefined, env as Record<string, string>)
        assert.deepStrictEqual(ended, { status: 69, stdout: "", stderr: `rankd: ${message}\n` })
      }
    })
  )
})

describe("a file that cannot be read", () => {
  it.live.each([
    [["ranks", "--ca", "/proc/self/mem"], "--ca /proc/self/mem cannot be read: i/o error. Name a PEM file"],
    [["agent", "--policy", "/proc/self/mem"], "--policy /proc/self/mem cannot be read: i/o error"]
  ] as const)("is named with the reason in words: %j", ([args, message]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* rankdHere(args), { status: 2, stdout: "", stderr: `rankd: ${message}\n` })
    })
  )
})

describe("a file with the wrong content", () => {
  it.live("is named, but never what is in it", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "rankd-flags-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true })))
      const file = join(folder, "token")
      writeFileSync(file, "secret words\n")
      const { status, stderr } = yield* rankdHere(["ranks", "--token-from", file])
      assert.deepStrictEqual(
        [status, stderr],
        [2, `rankd: --token-from ${file}: not a token (one word of printable characters)\n`]
      )
    }).pipe(Effect.scoped)
  )
})

describe("help", () => {
  it.live("is the same with --help and with `rankd help`", () =>
    Effect.gen(function* () {
      for (const command of [
        [],
        ["serve"],
        ["connect"],
        ["agent"],
        ["lead"],
        ["ranks"],
        ["watch"],
        ["token"],
        ["help"]
      ]) {
        const asked = yield* rankdHere(["help", ...command])
        assert.deepStrictEqual(asked, yield* rankdHere([...command, "--help"]))
        assert.deepStrictEqual([asked.status, asked.stderr], [0, ""])
        assert.match(asked.stdout, /^DESCRIPTION\n/)
      }
    })
  )

  it.live("has the sentence, the variable and the default of every flag", () =>
    Effect.gen(function* () {
      const { stdout } = yield* rankdHere(["help", "serve"])
      const shown = lines(stdout)
      for (const { help, name, variable } of Object.values(rows)) {
        const line = shown.find((line) => line.startsWith(`  --${name} `))!
        assert.include(line, help.replaceAll("`", ""))
        assert.include(line, variable!)
      }
      assert.match(stdout, /--max-clients number .*\(RANKD_MAX_CLIENTS, default 200\)/)
      assert.match(stdout, /--grace seconds +How long a disconnected program may come back and keep its rank/)
    })
  )
})

it("the table of flags in docs/operations.md is the one of Settings", () => {
  const page = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8")
  const [, table] = /<!-- flags -->\n([\s\S]*?)\n<!-- \/flags -->/.exec(page)!
  assert.deepStrictEqual(lines(table!), lines(markdown(rows)))
  for (const [limit, row] of Object.entries(limits))
    assert.strictEqual(table!.includes(row.help), !("flag" in row), limit)
})
