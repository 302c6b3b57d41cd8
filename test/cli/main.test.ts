/** `rankd` as a process: its output, its signals, and its exit status. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { SocketServer } from "effect/socket"
import packageJson from "../../package.json" with { type: "json" }
import { hint } from "../../src/cli/serve/hint.ts"
import { startError } from "../../src/cli/serve/StartError.ts"
import { rankdHere } from "../support/cli.ts"
import { rankd, says, shell } from "../support/process.ts"
import { Port, serverLayer } from "../support/wire.ts"

const linesOf = (text: string) => text.split("\n").slice(0, -1)

describe("rankd", { concurrent: true }, () => {
  it.live("prints its address in one line, serves, logs who joins and leaves, and stops in order", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0", "--max-clients", "2"])
      const a = yield* run.connect
      assert.match(run.stdout(), /^rankd listening on 127\.0\.0\.1:[0-9]+\n$/)
      yield* a.until((line) => line.startsWith("RANK 0 1 "))
      const b = yield* run.connect
      yield* b.until((line) => line.startsWith("RANK 1 2 "))
      assert.deepStrictEqual(yield* (yield* run.connect).untilClosed, ["ERROR - server full"])
      a.send("EXEC 1 uptime", "EXEC 5 x", "QUIT")
      assert.deepStrictEqual(yield* a.untilClosed, ["ERROR 0 no such rank", "BYE quit"])
      assert.deepStrictEqual((yield* b.until((line) => line.startsWith("RANK 0 1 ")))[0], "EXEC 0 uptime")
      run.child.kill("SIGTERM")
      assert.deepStrictEqual(yield* b.untilClosed, ["BYE shutting down"])
      assert.strictEqual(yield* run.exit, 0)
      assert.strictEqual(linesOf(run.stdout()).length, 1)
      // Standard error is no terminal here: it has the log, and no hint for a person.
      assert.deepStrictEqual(
        linesOf(run.stderr()).map((line) =>
          [...line.matchAll(/ (level|message|member|reason)=("[^"]*"|\S+)/g)].map((match) => match[2]!).join(" ")
        ),
        [
          "INFO joined m1",
          'INFO "leader changed" m1',
          "INFO joined m2",
          'WARN refused "server full"',
          "INFO left m1 quit",
          'INFO "leader changed" m2',
          'INFO left m2 "shutting down"'
        ]
      )
    })
  )

  it.live("is also `rankd serve`, and listens on IPv6", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["serve", "--host", "::1", "--port", "0", "--log-level", "none"])
      const a = yield* run.connect
      yield* a.until((line) => line.startsWith("RANK 0 1 "))
      a.send("RANKS")
      yield* a.until((line) => line === `MEMBER 0 m1 - [::1]:${a.socket.localPort}`)
      assert.match(run.stdout(), /^rankd listening on \[::1\]:[0-9]+\n$/)
      assert.strictEqual(run.stderr(), "")
    })
  )

  it.live("also runs as `tsx src/main.ts`", () =>
    Effect.gen(function* () {
      const run = yield* shell("exec node_modules/.bin/tsx src/main.ts --port 0")
      yield* (yield* run.connect).until((line) => line.startsWith("RANK 0 1 "))
    })
  )

  it.live("prefers a flag to the environment, and the environment to the default", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"], { RANKD_PORT: "1", RANKD_MAX_CLIENTS: "1", RANKD_LOG_LEVEL: "error" })
      yield* (yield* run.connect).until((line) => line.startsWith("RANK 0 1 "))
      assert.deepStrictEqual(yield* (yield* run.connect).untilClosed, ["ERROR - server full"])
      assert.strictEqual(run.stderr(), "")
    })
  )

  it.live.each([1, 2])("stops in time though a client does not read, and at once on a second signal: %d", (signals) =>
    Effect.gen(function* () {
      // What waits for it is far below its limit: it is no slow consumer, and lingers from the stop on.
      const run = yield* rankd(["--port", "0", "--log-level", "none", "--max-pending", "134217728"])
      const [a, deaf] = [yield* run.connect, yield* run.connect]
      yield* deaf.until((line) => line.startsWith("RANK"))
      deaf.socket.pause()
      // More than the kernel buffers for it.
      for (let i = 0; i < 200; i++) a.send(`EXEC 1 ${"x".repeat(60_000)}`)
      a.send("PING sent")
      yield* a.until((line) => line === "PONG sent")
      let start = performance.now()
      run.child.kill("SIGINT")
      assert.deepStrictEqual((yield* a.untilClosed).at(-1), "BYE shutting down")
      if (signals === 2) {
        // A copy of the first signal, as npm sends it, comes sooner than a person's second one.
        yield* Effect.sleep("200 millis")
        start = performance.now()
        run.child.kill("SIGINT")
      }
      assert.strictEqual(yield* run.exit, signals === 1 ? 0 : 130)
      assert.isBelow(performance.now() - start, signals === 1 ? 9000 : 1500)
    })
  )

  it.live.each([
    ["ends", "30", "RESULT#1 1 0 made"],
    ["does not end", "1", "RESULT#1 1 lost"]
  ] as const)(
    "waits for an open command that %s, for --drain %s at most, and takes no new one",
    ([ends, drain, outcome]) =>
      Effect.gen(function* () {
        const run = yield* rankd(["--port", "0", "--log-level", "none", "--drain", drain])
        const [a, b] = [yield* run.connect, yield* run.connect]
        yield* b.until((line) => line.startsWith("RANK"))
        a.send("EXEC#1 1 make")
        yield* b.until((line) => line === "EXEC#1 0 make")
        const start = performance.now()
        run.child.kill("SIGTERM")
        // The server drains as soon as it rejects a command.
        yield* Effect.forever(
          Effect.delay(
            Effect.sync(() => a.send("EXEC 1 more")),
            "20 millis"
          )
        ).pipe(Effect.raceFirst(a.until((line) => line === "ERROR 0 shutting down")))
        assert.deepStrictEqual(yield* (yield* run.connect).untilClosed, ["ERROR - shutting down"])
        if (ends === "ends") b.send("RESULT#1 0 made")
        const rest = (yield* a.untilClosed).filter((line) => line !== "ERROR 0 shutting down")
        assert.deepStrictEqual(rest, [outcome, "BYE shutting down"])
        assert.strictEqual(yield* run.exit, 0)
        assert.isBelow(performance.now() - start, 8000)
      })
  )

  it.live("says in one line what to do when it cannot listen, and exits with 69", () =>
    Effect.gen(function* () {
      const port = yield* Port
      assert.deepStrictEqual(yield* rankdHere(["--port", `${port}`]), {
        status: 69,
        stdout: "",
        stderr:
          `rankd: cannot listen on 127.0.0.1:${port}: port ${port} is in use. ` +
          "Stop the program that uses it, or choose another port with --port (0: any free port)\n"
      })
      assert.deepStrictEqual(yield* rankdHere(["--host", "192.0.2.1", "--insecure"]), {
        status: 69,
        stdout: "",
        stderr:
          "rankd: cannot listen on 192.0.2.1:5000: 192.0.2.1 is not an address of this machine. " +
          "Choose one that is with --host, or 0.0.0.0 for all\n"
      })
      const unresolved = yield* rankdHere(["--host", "no-such-host.invalid", "--insecure"])
      assert.deepStrictEqual([unresolved.status, unresolved.stdout], [69, ""])
      assert.match(
        unresolved.stderr,
        /^rankd: cannot listen on no-such-host\.invalid:5000: .*(?:does not|cannot) resolve.*--host\n$/
      )
    }).pipe(Effect.provide(serverLayer()))
  )

  it.live.each([
    [[], { RANKD_PORT: "70000" }, 2, "RANKD_PORT=70000: not a port (a whole number from 0 to 65535)"],
    [["--host", "192.0.2.1", "--insecure"], {}, 69, "cannot listen on 192.0.2.1:5000: 192.0.2.1 is not an address"]
  ] as const)("as a process, too, ends with an error's status, and prints no stack: %j", ([args, env, status, error]) =>
    Effect.gen(function* () {
      const run = yield* rankd(args, env as Record<string, string>)
      assert.strictEqual(yield* run.exit, status)
      assert.strictEqual(run.stdout(), "")
      assert.strictEqual(run.stderr().indexOf(`rankd: ${error}`), 0)
      assert.notMatch(run.stderr(), /^ +at |node_modules|Error:/m)
    })
  )

  it.live("continues when nobody reads its logs any more", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"])
      const a = yield* run.connect
      run.child.stderr!.destroy()
      for (let i = 0; i < 20; i++) {
        const b = yield* run.connect
        b.send("QUIT")
        yield* b.untilClosed
      }
      a.send("PING")
      yield* a.until((line) => line === "PONG")
    })
  )

  it.live("prints help with examples, its version, and completions", () =>
    Effect.gen(function* () {
      for (const [args, pattern] of [
        [["--help"], /--max-clients[\s\S]*EXAMPLES[\s\S]*rankd serve --host/],
        [["serve", "--help"], /--max-line[\s\S]*EXAMPLES/],
        [["--version"], new RegExp(`^rankd v${packageJson.version}\n$`)],
        [["--completions", "bash"], /--max-pending/]
      ] as const) {
        const { status, stderr, stdout } = yield* rankdHere(args)
        assert.deepStrictEqual([status, stderr], [0, ""])
        assert.match(stdout, pattern)
      }
      const run = yield* rankd(["--version"])
      assert.strictEqual(yield* run.exit, 0)
      assert.deepStrictEqual([run.stdout(), run.stderr()], [`rankd v${packageJson.version}\n`, ""])
    })
  )

  it.live("warns when fewer files may be open than it should take clients", () =>
    Effect.gen(function* () {
      const run = yield* shell(`ulimit -n 100; exec ${process.execPath} --import tsx src/main.ts --port 0`)
      yield* run.connect
      yield* says(
        run.stderr,
        /level=WARN .*ulimit -n\) is 100: the server takes at most 68 connections, not 200\. Raise the limit/
      )
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
    })
  )
})

describe("the hint", () => {
  const [some, none] = [Option.some("x"), Option.none()]
  it.each([
    ["nc ::1 80 in two terminals, then type HELP", { tokenFile: none, tlsCert: none, tlsCa: none }],
    ["nc ::1 80 in two terminals, then type AUTH and a token", { tokenFile: some, tlsCert: none, tlsCa: none }],
    ["openssl s_client -quiet -connect [::1]:80 in two", { tokenFile: none, tlsCert: some, tlsCa: none }],
    ["rankd connect --host ::1 --port 80 --ca <file> --cert <file>", { tokenFile: none, tlsCert: some, tlsCa: some }]
  ] as const)("names a client that can connect: %s", (text, options) => {
    assert.include(hint(options, "::", 80), `Try it: ${text}`)
  })
})

describe("an error when the server starts", () => {
  it.each([
    ["EADDRINUSE", "port 80 is in use"],
    ["EACCES", "only privileged users may use port 80. Choose one above 1023 with --port"],
    ["EADDRNOTAVAIL", "h is not an address of this machine"],
    ["ENOTFOUND", "h does not resolve. Give a name that does"],
    ["EAI_AGAIN", "the name service cannot resolve h now"],
    ["ESTRANGE", "something strange"]
  ])("says what to do: %s", (code, message) => {
    const cause = Object.assign(new Error("something strange"), { code })
    const error = new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) })
    assert.isTrue(startError({ host: "h", port: 80 })(error).message.startsWith(`cannot listen on h:80: ${message}`))
  })
})
