import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { SocketServer } from "effect/socket"
import packageJson from "../../package.json" with { type: "json" }
import { startError } from "../../src/cli/serve/StartError.ts"
import { rankd, shell } from "../support/process.ts"

const linesOf = (text: string) => text.split("\n").slice(0, -1)

/** What it says and how it ends when it does not serve. */
const fails = Effect.fnUntraced(function* (args: ReadonlyArray<string>, env: Record<string, string> = {}) {
  const run = yield* rankd(args, env)
  const status = yield* run.exit
  assert.strictEqual(run.stdout(), "")
  assert.notMatch(run.stderr(), /^ +at |node_modules|Error:/m)
  return { status, says: linesOf(run.stderr()) }
})

describe("rankd", { concurrent: true, timeout: 60_000 }, () => {
  it.live("says where it listens, in one line, serves, logs who comes and goes, and ends in order", () =>
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
      const [hint, ...logs] = linesOf(run.stderr())
      assert.match(hint!, /^Try it: nc 127\.0\.0\.1 [0-9]+/)
      assert.deepStrictEqual(
        logs.map((line) =>
          [...line.matchAll(/ (level|message|member|reason)=("[^"]*"|\S+)/g)].map((match) => match[2]!).join(" ")
        ),
        [
          "INFO joined m1",
          "INFO joined m2",
          'WARN refused "server full"',
          "INFO left m1 quit",
          'INFO left m2 "shutting down"'
        ]
      )
    })
  )

  it.live("can be named `serve`, and listens on IPv6", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["serve", "--host", "::1", "--port", "0", "--log-level", "none"])
      const a = yield* run.connect
      yield* a.until((line) => line.startsWith("RANK 0 1 "))
      a.send("RANKS")
      yield* a.until((line) => line === `MEMBER 0 m1 - [::1]:${a.socket.localPort}`)
      assert.match(run.stdout(), /^rankd listening on \[::1\]:[0-9]+\n$/)
      assert.strictEqual(linesOf(run.stderr()).length, 1)
    })
  )

  it.live("runs as `tsx src/main.ts`, too", () =>
    Effect.gen(function* () {
      const run = yield* shell("exec node_modules/.bin/tsx src/main.ts --port 0")
      yield* (yield* run.connect).until((line) => line.startsWith("RANK 0 1 "))
    })
  )

  it.live("takes a flag over the environment, and the environment over the default", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"], { RANKD_PORT: "1", RANKD_MAX_CLIENTS: "1", RANKD_LOG_LEVEL: "error" })
      yield* (yield* run.connect).until((line) => line.startsWith("RANK 0 1 "))
      assert.deepStrictEqual(yield* (yield* run.connect).untilClosed, ["ERROR - server full"])
      assert.strictEqual(linesOf(run.stderr()).length, 1)
    })
  )

  it.live("ends in time though a client does not read; at once on a second signal", () =>
    Effect.gen(function* () {
      for (const signals of [1, 2]) {
        const run = yield* rankd(["--port", "0", "--log-level", "none"])
        const [a, deaf] = [yield* run.connect, yield* run.connect]
        yield* deaf.until((line) => line.startsWith("RANK"))
        deaf.socket.pause()
        // Enough to fill what the kernel holds for it, and then some.
        for (let i = 0; i < 200; i++) a.send(`EXEC 1 ${"x".repeat(60_000)}`)
        yield* a.until((line) => line.includes("busy") || line.includes("no such rank"))
        const start = Date.now()
        run.child.kill("SIGINT")
        assert.deepStrictEqual((yield* a.untilClosed).at(-1), "BYE shutting down")
        if (signals === 2) {
          yield* Effect.sleep("200 millis")
          run.child.kill("SIGINT")
        }
        assert.strictEqual(yield* run.exit, signals === 1 ? 0 : 130)
        assert.isBelow(Date.now() - start, signals === 1 ? 9000 : 2000)
      }
    })
  )

  it.live("lets open commands end before it does, for as long as --drain says, and takes no new ones", () =>
    Effect.gen(function* () {
      for (const answered of [true, false]) {
        const run = yield* rankd(["--port", "0", "--log-level", "none", "--drain", answered ? "30" : "1"])
        const [a, b] = [yield* run.connect, yield* run.connect]
        yield* b.until((line) => line.startsWith("RANK"))
        a.send("EXEC#1 1 make")
        yield* b.until((line) => line === "EXEC#1 0 make")
        const start = Date.now()
        run.child.kill("SIGTERM")
        a.send("PING")
        yield* Effect.sleep("300 millis")
        assert.deepStrictEqual(yield* (yield* run.connect).untilClosed, ["ERROR - shutting down"])
        a.send("EXEC 1 more")
        yield* a.until((line) => line === "ERROR 0 shutting down")
        if (answered) b.send("RESULT#1 0 made")
        assert.deepStrictEqual(yield* a.untilClosed, [
          answered ? "RESULT#1 1 0 made" : "RESULT#1 1 lost",
          "BYE shutting down"
        ])
        assert.strictEqual(yield* run.exit, 0)
        assert.isBelow(Date.now() - start, 8000)
      }
    })
  )

  it.live("says in one line what to do when it cannot listen, and exits 69", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"])
      const { remotePort } = (yield* run.connect).socket
      assert.deepStrictEqual(yield* fails(["--port", `${remotePort}`]), {
        status: 69,
        says: [
          `rankd: cannot listen on 127.0.0.1:${remotePort}: port ${remotePort} is in use. ` +
            "Stop what listens there, or choose another with --port (0 takes a free one)"
        ]
      })
      assert.deepStrictEqual(yield* fails(["--host", "192.0.2.1", "--insecure"]), {
        status: 69,
        says: [
          "rankd: cannot listen on 192.0.2.1:5000: 192.0.2.1 is not an address of this machine. " +
            "Choose one that is with --host, or 0.0.0.0 for all"
        ]
      })
      const unresolved = yield* fails(["--host", "no-such-host.invalid", "--insecure"])
      assert.strictEqual(unresolved.status, 69)
      assert.match(
        unresolved.says.join("\n"),
        /^rankd: cannot listen on no-such-host\.invalid:5000: .* does not resolve.*--host$/
      )
    })
  )

  it.live.each([
    [["--port", "x"], 'rankd: Invalid value for flag --port: "x". Expected: a whole number from 0 to 65535'],
    [
      ["serve", "--port", "65536"],
      'rankd: Invalid value for flag --port: "65536". Expected: a whole number from 0 to 65535'
    ],
    [
      ["--max-clients", "0"],
      'rankd: Invalid value for flag --max-clients: "0". Expected: a whole number from 1 to 1000000'
    ],
    [
      ["--max-line", "1e3.5"],
      'rankd: Invalid value for flag --max-line: "1e3.5". Expected: a whole number from 512 to 16777216'
    ],
    [
      ["--max-line", "1000000"],
      'rankd: Invalid value for flag --max-pending: "1048576". Expected: at least 4 times --max-line, 4000000 or more'
    ],
    [["--port", ""], "rankd: Missing value for flag --port. Expected: a whole number from 0 to 65535"],
    [["--port", "0x10"], 'rankd: Invalid value for flag --port: "0x10". Expected: a whole number from 0 to 65535'],
    [["--bogus"], "rankd: Unrecognized flag: --bogus in command rankd"],
    [["frob"], 'rankd: Unknown subcommand "frob" for "rankd"']
  ] as const)("says what is wrong, and the usage, on %j, and exits 2", ([args, says]) =>
    Effect.gen(function* () {
      const failed = yield* fails(args)
      assert.strictEqual(failed.status, 2)
      assert.strictEqual(failed.says[0], says)
      assert.match(failed.says[1]!, /^usage: rankd/)
      assert.match(failed.says[2]!, /^Try: rankd .*--help$/)
    })
  )

  it.live("serves on when nobody reads its logs any more", () =>
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

  it.live("names the environment variable that is wrong", () =>
    Effect.gen(function* () {
      const failed = yield* fails([], { RANKD_PORT: "70000" })
      assert.strictEqual(failed.status, 2)
      assert.strictEqual(failed.says[0], "rankd: Invalid value of RANKD_PORT. Expected a whole number from 0 to 65535")
    })
  )

  it.live("has help with examples, its version, and completions", () =>
    Effect.gen(function* () {
      for (const [args, pattern] of [
        [["--help"], /--max-clients[\s\S]*EXAMPLES[\s\S]*rankd serve --host/],
        [["serve", "--help"], /--max-line[\s\S]*EXAMPLES/],
        [["--version"], new RegExp(`^rankd v${packageJson.version}\n$`)],
        [["--completions", "bash"], /--max-pending/]
      ] as const) {
        const run = yield* rankd(args)
        assert.strictEqual(yield* run.exit, 0)
        assert.match(run.stdout(), pattern)
        assert.strictEqual(run.stderr(), "")
      }
    })
  )

  it.live("warns when fewer files may be open than clients are admitted", () =>
    Effect.gen(function* () {
      const run = yield* shell(`ulimit -n 100; exec ${process.execPath} --import tsx src/main.ts --port 0`)
      yield* run.connect
      while (!run.stderr().includes("WARN")) yield* Effect.sleep("10 millis")
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
      assert.match(
        run.stderr(),
        /level=WARN .*ulimit -n\) is 100: at most 68 connections are taken, where 200 were asked for/
      )
    })
  )
})

describe("why listening failed", () => {
  it.each([
    ["EADDRINUSE", "port 80 is in use"],
    ["EACCES", "port 80 may not be bound without privileges. Choose one above 1023 with --port"],
    ["EADDRNOTAVAIL", "h is not an address of this machine"],
    ["ENOTFOUND", "h does not resolve. Give a name that does"],
    ["EAI_AGAIN", "h does not resolve now: name service failed"],
    ["ESTRANGE", "something strange"]
  ])("%s", (code, says) => {
    const cause = Object.assign(new Error("something strange"), { code })
    const error = new SocketServer.SocketServerError({ reason: new SocketServer.SocketServerOpenError({ cause }) })
    assert.isTrue(startError({ host: "h", port: 80 })(error).message.startsWith(`cannot listen on h:80: ${says}`))
  })
})
