/** The commands that connect to a server. Those that need signals or pipes are processes. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { constants, tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Option, SubscriptionRef } from "effect"
import { Socket } from "effect/socket"
import type { Connecting } from "../../src/cli/connection/flags.ts"
import { unanswered } from "../../src/cli/connection/status.ts"
import type { Standing } from "../../src/client/Connection.ts"
import type { Rejected } from "../../src/client/Rejected.ts"
import { rankdHere } from "../support/cli.ts"
import { gone, rankd, rankdCommand, says, shell } from "../support/process.ts"
import { until } from "../support/until.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer({ settle: Duration.zero }))) as Effect.Effect<A, E>

const to = Effect.map(Port, (port) => ["--port", `${port}`] as const)

const parsed = (output: string) =>
  output
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))

describe("rankd ranks", { concurrent: true }, () => {
  it.live("lists the members, as lines and as JSON", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* client
        first.send("NAME boss")
        yield* first.until((line) => line.startsWith("NAMED"))
        const lines = yield* rankdHere(["ranks", ...(yield* to), "--name", "lister"])
        assert.strictEqual(lines.status, 0)
        assert.match(
          lines.stdout,
          /^MEMBER 0 m1 boss 127\.0\.0\.1:\d+\nMEMBER 1 m2 lister 127\.0\.0\.1:\d+\nEND 2 \d+\n$/
        )
        assert.strictEqual(lines.stderr, "")
        const json = yield* rankdHere(["ranks", ...(yield* to), "--json"])
        assert.strictEqual(json.status, 0)
        const listed = parsed(json.stdout)
        assert.deepStrictEqual(listed[0], { rank: 0, member: "m1", name: "boss", address: first.address })
        assert.strictEqual(listed.length, 2)
      })
    )
  )

  it.live("says that nobody leads while a member without a lease has rank 0", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* client
        yield* first.until((line) => line.startsWith("RANK"))
        const candidate = yield* client
        candidate.send('{"_tag":"Hello","protocol":1,"heartbeat":2000,"lease":true}')
        yield* candidate.until((line) => line.includes("Welcome"))
        const port = yield* to
        const sentence = "m1 has rank 0 and no lease: nobody leads until it leaves or steps down"
        const lines = yield* rankdHere(["ranks", ...port])
        assert.strictEqual(lines.stderr, `rankd: ${sentence}\n`)
        const json = yield* rankdHere(["ranks", ...port, "--json"])
        assert.deepStrictEqual(parsed(json.stderr), [{ _tag: "Notice", message: sentence }])
        assert.deepStrictEqual(
          parsed(json.stdout).map(({ lease }) => lease),
          [undefined, true, undefined]
        )
        first.send("YIELD")
        yield* candidate.until((line) => line.includes('"rank":0'))
        assert.strictEqual((yield* rankdHere(["ranks", ...port])).stderr, "")
      })
    )
  )

  it.live("says why the server does not admit it", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* client
        first.send("NAME boss")
        yield* first.until((line) => line.startsWith("NAMED"))
        const { status, stderr } = yield* rankdHere(["ranks", ...(yield* to), "--name", "boss"])
        assert.strictEqual(status, 69)
        assert.strictEqual(stderr, "rankd: not admitted: name taken. Choose another with --name\n")
      })
    )
  )

  it.live("exits with 69 when there is no server, and says what to do", () =>
    Effect.gen(function* () {
      const { status, stderr } = yield* rankdHere(["ranks", "--port", "1"])
      assert.strictEqual(status, 69)
      assert.match(stderr, /^rankd: no answer from 127\.0\.0\.1:1\. Start a server there with rankd serve.*\n$/)
    }).pipe(Effect.scoped)
  )
})

describe("a command that connects to a server", { concurrent: true }, () => {
  const unresolved =
    /(?:nosuch\.invalid does not resolve|cannot resolve nosuch\.invalid now)\. Name another server with --host/

  it.live.each(["connect", "ranks", "watch"])(
    "ends at once if the name of the server does not resolve: %s",
    (command) =>
      Effect.gen(function* () {
        const start = performance.now()
        const { status, stderr, stdout } = yield* rankdHere([command, "--host", "nosuch.invalid"])
        assert.deepStrictEqual([status, stdout], [69, ""])
        assert.match(stderr, /^rankd: .*\n$/)
        assert.match(stderr, unresolved)
        assert.isBelow(performance.now() - start, 4000)
      })
  )

  it.live.each([
    ["agent", []],
    ["lead", ["--", "ls"]]
  ] as const)("says so and keeps trying if the name does not resolve: %s", ([command, rest]) =>
    Effect.gen(function* () {
      const run = yield* rankd([command, "--host", "nosuch.invalid", ...rest])
      yield* says(run.stderr, unresolved)
      assert.match(run.stderr(), /; trying again\n$/)
      yield* Effect.sleep("1 second")
      assert.isFalse(run.ended())
      assert.strictEqual(run.stderr().match(/resolve/g)!.length, 1)
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["EHOSTUNREACH", ": host is unreachable"],
    ["EINVAL", ": invalid argument"],
    ["ECONNREFUSED", ""]
  ] as const)("names the system's reason if it cannot connect: %s", ([code, reason]) =>
    Effect.gen(function* () {
      const cause = Object.assign(new Error(code), { code, errno: -constants.errno[code] })
      const error = new Socket.SocketError({ reason: new Socket.SocketOpenError({ kind: "Unknown", cause }) })
      const to = { host: "::1", port: 5000, tls: false, ca: Option.none(), cert: Option.none() } as Connecting
      const { advice, why } = unanswered(to, {
        standing: yield* SubscriptionRef.make<Standing | undefined>(undefined),
        refused: yield* SubscriptionRef.make<Rejected | undefined>(undefined),
        failure: yield* SubscriptionRef.make<Socket.SocketError | undefined>(error)
      })
      assert.strictEqual(why, `no answer from [::1]:5000${reason}`)
      assert.match(advice, /^Start a server there/)
    })
  )

  it.live("takes an IPv6 address in brackets, as the server prints it, and so does the server", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["serve", "--host", "[::1]", "--port", "0"])
      yield* says(server.stdout, /listening on \[::1\]:\d+\n/)
      const port = /:(\d+)\n/.exec(server.stdout())![1]!
      const listed = yield* rankdHere(["ranks", "--host", "[::1]", "--port", port])
      assert.strictEqual(listed.status, 0, listed.stderr)
      const none = yield* rankdHere(["ranks", "--port", "1"], undefined, { RANKD_HOST: "[::1]" })
      assert.match(none.stderr, /no answer from \[::1\]:1\./)
    }).pipe(Effect.scoped)
  )
})

describe("a command with endless output", { concurrent: true }, () => {
  it.live.each(["watch", "agent"])("ends when its reader does: %s", (command) =>
    withServer(
      Effect.gen(function* () {
        const boss = yield* client
        boss.send("WATCH")
        const port = (yield* to)[1]
        const piped = yield* shell(`${rankdCommand} ${command} --port ${port} | head -1`)
        yield* boss.until((line) => line.startsWith("JOINED"))
        const left = boss.until((line) => line.startsWith("LEFT"))
        yield* Effect.raceFirst(
          left,
          Effect.forever(
            Effect.delay(
              Effect.sync(() => boss.send("EXEC 1 x", "NAME a", "NAME b")),
              "50 millis"
            )
          )
        )
        assert.strictEqual(yield* piped.exit, 0)
      })
    )
  )
})

describe("rankd watch", { concurrent: true }, () => {
  it.live("prints every change, as lines and as JSON", () =>
    withServer(
      Effect.gen(function* () {
        const lines = yield* rankd(["watch", ...(yield* to)])
        yield* says(lines.stdout, /END 1 \d+\n/)
        const json = yield* rankd(["watch", ...(yield* to), "--json", "--name", "eye"])
        yield* says(json.stdout, /Roster.*\n/)
        const first = yield* client
        yield* first.until((line) => line.startsWith("RANK"))
        first.send("NAME x", "YIELD", "QUIT")
        yield* says(lines.stdout, /LEFT/)
        yield* says(json.stdout, /Left/)
        assert.match(
          lines.stdout(),
          /^MEMBER 0 m1 - .*\nEND 1 \d+\nJOINED 1 m2\nNAMED 1 m2 eye\nJOINED 2 m3\nNAMED 2 m3 x\nLEFT 2 m3 quit\n$/
        )
        assert.deepStrictEqual(parsed(json.stdout()).slice(1), [
          { _tag: "Joined", rank: 2, member: "m3" },
          { _tag: "Named", rank: 2, member: "m3", name: "x" },
          { _tag: "Left", rank: 2, member: "m3", reason: "quit" }
        ])
      })
    )
  )
})

describe("rankd connect, with a script", { concurrent: true }, () => {
  /** A client that answers with the command itself: `5 out` is status 5 and output `out`. `leave` leaves, `never` gets no answer. */
  const executor = Effect.gen(function* () {
    const executor = yield* client
    executor.socket.on("data", (data) => {
      for (const [, id, answer] of `${data}`.matchAll(/^EXEC#(\d+) \d+ (.*)$/gm)) {
        if (answer === "leave") executor.send("QUIT")
        else if (answer !== "never") executor.send(`RESULT#${id} ${answer}`)
      }
    })
    return executor
  })

  /** Runs a script at rank 1, between a client and an executor. */
  const between = Effect.fnUntraced(function* (input: string, ...args: ReadonlyArray<string>) {
    const above = yield* client
    above.send("WATCH")
    const ready = yield* Deferred.make<string>()
    const ended = yield* Effect.forkChild(rankdHere(["connect", ...(yield* to), ...args], Deferred.await(ready)))
    yield* above.until((line) => line.startsWith("JOINED"))
    const below = yield* executor
    below.send("NAME worker")
    yield* below.until((line) => line.startsWith("NAMED"))
    yield* Deferred.succeed(ready, input)
    return { ...(yield* Fiber.join(ended)), below }
  })

  it.live("sends one line after the other, and exits with the largest status", () =>
    withServer(
      Effect.gen(function* () {
        const lines = [
          "# a comment",
          "",
          "EXEC#1 @worker 0 a\\\\b\\nc",
          "exec#2 * 3 c\r",
          "EXEC 2 untracked",
          "PING all",
          "EXPLAIN *",
          "EXEC#1 2 0",
          '{"_tag":"Exec","id":"j","to":"2","command":"1","member":"m3"}'
        ]
        const { below, status, stderr, stdout } = yield* between(lines.join("\n"))
        assert.strictEqual(status, 3)
        assert.deepStrictEqual(stdout.trimEnd().split("\n"), [
          "RESULT#1 2 0 a\\\\b\\nc",
          "RESULT#2 2 3 c",
          "DONE#2 0 1",
          "PONG all",
          "TARGETS 1 2:m3",
          "RESULT#1 2 0",
          "RESULT#j 2 1"
        ])
        assert.strictEqual(stderr, "")
        assert.include(below.heard, "EXEC 1 untracked")
      })
    )
  )

  it.live("prints the answers to its lines on standard output, and nothing else", () =>
    withServer(
      Effect.gen(function* () {
        const { status, stderr, stdout } = yield* between("PING a", "--name", "boss")
        assert.deepStrictEqual({ status, stderr, stdout }, { status: 0, stderr: "", stdout: "PONG a\n" })
      })
    )
  )

  it.live("counts changes as answers to WATCH, and a name as one to NAME", () =>
    withServer(
      Effect.gen(function* () {
        const asked = ["NAME chief", "WATCH", "YIELD", "UNWATCH", "YIELD", "PING a"].join("\n")
        const { stdout } = yield* between(asked, "--name", "boss")
        assert.match(stdout, /^NAMED (\d+) (m\d+) chief\n(?:MEMBER .*\n)+END \d+ \d+\nMOVED \1 \d+ \2\nPONG a\n$/)
      })
    )
  )

  it.live("prints JSON alone on both streams with --json", () =>
    Effect.gen(function* () {
      const json = { _tag: "Failed", message: "no answer from 127.0.0.1:1" }
      for (const args of [["connect"], ["ranks"], ["watch"]]) {
        const { status, stderr, stdout } = yield* rankdHere([...args, "--port", "1", "--json"])
        assert.deepStrictEqual([status, stdout], [69, ""])
        const [failed, ...more] = parsed(stderr)
        assert.include(failed.message, json.message)
        assert.deepStrictEqual([failed._tag, more], ["Failed", []])
      }
      for (const args of [
        ["connect", "--bogus"],
        ["agent", "--policy", "no/x"],
        ["ranks", "--cert", "README.md"],
        ["token", "--may", "x"],
        ["lead"]
      ]) {
        const { status, stderr, stdout } = yield* rankdHere([...args, "--json"])
        assert.deepStrictEqual([status, stdout], [2, ""], args.join(" "))
        assert.strictEqual(parsed(stderr)[0]._tag, "Failed", stderr)
      }
      // What follows `--` is for the command.
      const other = yield* rankdHere(["lead", "--bogus", "--", "ls", "--json"])
      assert.match(other.stderr, /^rankd: unknown flag --bogus\n/)
    })
  )

  it.live("takes a byte order mark, and lines that are indented", () =>
    withServer(
      Effect.gen(function* () {
        const lines = [
          "\ufeff  PING first",
          "\t# a comment",
          "  EXEC#1 2 0",
          ' \t{"_tag":"Ping","text":"json"}',
          "\tQUIT",
          "PING not sent"
        ]
        const { status, stderr, stdout } = yield* between(lines.join("\n"))
        assert.deepStrictEqual(
          { status, stderr, stdout },
          { status: 0, stderr: "", stdout: "PONG first\nRESULT#1 2 0\nPONG json\n" }
        )
      })
    )
  )

  it.live("prints outcomes as JSON that is harmless to a terminal", () =>
    withServer(
      Effect.gen(function* () {
        const lines = "EXEC#1 2 0 \\x1b[2J\\x9b\u202e\nEXEC#2 0 x\n"
        const { status, stdout } = yield* between(lines, "--json")
        assert.strictEqual(status, 77)
        assert.include(stdout, "\\u001b[2J\\u009b\\u202e")
        assert.deepStrictEqual(parsed(stdout), [
          { _tag: "Result", id: "1", rank: 2, status: 0, output: "\u001b[2J\u009b\u202e" },
          { _tag: "Error", id: "2", rank: 1, reason: "rank too high" }
        ])
      })
    )
  )

  it.live("exits with 75 after an unknown outcome, and with 77 after a denied command or a rejected line", () =>
    Effect.gen(function* () {
      const cases = [
        ["EXEC#1 2 0", 0, "RESULT#1 2 0"],
        ["EXEC#1 2 255 x", 255, "RESULT#1 2 255 x"],
        ["EXEC#1 2 failed", 1, "RESULT#1 2 failed"],
        ["EXEC#1 2 never", 75, "RESULT#1 2 timeout"],
        ["EXEC#1 2 leave", 75, "RESULT#1 2 lost"],
        ["EXEC#1 2 busy", 75, "RESULT#1 2 busy"],
        ["EXEC#1 2 denied", 77, "RESULT#1 2 denied"],
        ["EXEC#1 0 x", 77, "ERROR#1 1 rank too high"],
        ["EXEC 0 x", 77, "ERROR 1 rank too high"],
        ["EXEC#1 01 x", 77, "ERROR#1 1 malformed: expected a rank (3), a range (2-5), *, @name or @m7"],
        ["reboot", 77, "ERROR 1 unknown command: try HELP"],
        [`EXEC#1 2 ${"x".repeat(70_000)}`, 77, "ERROR 1 line too long: at most 65536 bytes; the rest was not sent"],
        [`EXEC#1 2 ${"\u00e9\u0009".repeat(20_000)}`, 77, "ERROR#1 1 line too long: at most 65536 bytes, as JSON"],
        ["EXEC#1 2 0 a\rEXEC#2 2 0", 77, "ERROR#1 1 malformed: expected text on one line"],
        ["QUIT\nEXEC#1 0 x", 0, ""],
        ["QUIT \nEXEC#1 0 x", 0, ""],
        ['{"_tag":"Quit"}\nEXEC#1 0 x', 0, ""]
      ] as const
      yield* Effect.forEach(
        cases,
        ([line, status, output]) =>
          Effect.gen(function* () {
            const { below, ...ended } = yield* between(`${line}\n`)
            assert.deepStrictEqual(ended, { status, stdout: output && `${output}\n`, stderr: "" })
          }).pipe(
            Effect.scoped,
            // Only the command that nobody answers waits for its timeout.
            Effect.provide(serverLayer({ commandTimeout: Duration.millis(output.endsWith("timeout") ? 300 : 30_000) }))
          ),
        { concurrency: 6, discard: true }
      )
    })
  )

  it.live("denies every command at once", () =>
    withServer(
      Effect.gen(function* () {
        const above = yield* client
        above.send("WATCH")
        yield* Effect.forkChild(rankdHere(["connect", ...(yield* to)], Effect.never))
        yield* above.until((line) => line.startsWith("JOINED"))
        above.send("EXEC#1 1 reboot")
        assert.include(yield* above.until((line) => line.startsWith("RESULT")), "RESULT#1 1 denied")
      })
    )
  )

  it.live("exits with 75 when the connection breaks, and sends no more", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["--port", "0"])
      yield* says(server.stdout, /listening/)
      const port = /:(\d+)\n/.exec(server.stdout())![1]!
      const run = yield* rankd(["connect", "--port", port])
      run.input("PING ready\n", "more")
      yield* says(run.stdout, /PONG ready/)
      const below = yield* server.connect
      run.input("EXEC#1 1 x\nPING more\n", "more")
      yield* below.until((line) => line.startsWith("EXEC#"))
      server.child.kill("SIGKILL")
      assert.strictEqual(yield* run.exit, 75)
      assert.strictEqual(run.stdout(), "PONG ready\nRESULT#1 - lost\n")
      assert.strictEqual(run.stderr(), "rankd: connection lost; the rest was not sent\n")
      const none = yield* rankdHere(["connect", "--port", port], Effect.succeed("PING\n"))
      assert.deepStrictEqual([none.status, none.stdout], [69, ""])
    }).pipe(Effect.scoped)
  )
})

describe("rankd agent", { concurrent: true }, () => {
  it.live("only prints commands by default", () =>
    withServer(
      Effect.gen(function* () {
        const boss = yield* client
        boss.send("WATCH")
        const agent = yield* rankd(["agent", ...(yield* to)])
        yield* boss.until((line) => line.startsWith("JOINED"))
        boss.send("EXEC 1 touch x", "EXEC#1 1 rm\u202e -rf /")
        assert.include(yield* boss.until((line) => line.startsWith("RESULT")), "RESULT#1 1 0 executed: rm\u202e -rf /")
        assert.strictEqual(agent.stdout(), "executed: touch x\nexecuted: rm -rf /\n")
        assert.match(agent.stderr(), /^rankd: this agent only prints commands\. Let it run some with --allow\n/)
        agent.child.kill("SIGTERM")
        assert.strictEqual(yield* agent.exit, 0)
      })
    )
  )

  it.live("runs the commands that its patterns and its policy file allow, and reports them as JSON", () =>
    withServer(
      Effect.gen(function* () {
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-agent-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true }))
        )
        writeFileSync(join(folder, "policy"), "# what the boss may do\n\npwd\nseq *\n")
        const boss = yield* client
        boss.send("WATCH")
        const agent = yield* rankd([
          "agent",
          ...(yield* to),
          "--json",
          ...["--allow", "echo *", "--policy", join(folder, "policy"), "--cwd", folder, "--max-output", "4"]
        ])
        yield* boss.until((line) => line.startsWith("JOINED"))
        const outcome = (command: string) => {
          boss.send(`EXEC#1 1 ${command}`)
          return Effect.map(
            boss.until((line) => line.startsWith("RESULT")),
            (lines) => lines.at(-1)
          )
        }
        assert.strictEqual(yield* outcome("echo hi"), "RESULT#1 1 0 hi\\n")
        assert.strictEqual(yield* outcome("seq 5"), "RESULT#1 1 0 1\\n... 6 bytes are missing ...\\n5\\n")
        assert.match((yield* outcome("pwd"))!, /^RESULT#1 1 0 \/t\\n\.\.\. \d+ bytes are missing \.\.\.\\n.\\n$/)
        assert.strictEqual(yield* outcome("echo a;reboot"), "RESULT#1 1 denied")
        assert.deepStrictEqual(parsed(agent.stdout()), [
          { from: 0, command: "echo hi", status: 0 },
          { from: 0, command: "seq 5", status: 0, truncated: true },
          { from: 0, command: "pwd", status: 0, truncated: true },
          { from: 0, command: "echo a;reboot", status: "denied" }
        ])
        assert.deepInclude(parsed(agent.stderr())[0], { _tag: "Ranked", rank: 1, size: 2, member: "m2" })
        const printer = yield* rankd(["agent", ...(yield* to), "--json"])
        yield* says(printer.stderr, /Ranked/)
        assert.deepStrictEqual(parsed(printer.stderr())[0], {
          _tag: "Notice",
          message: "this agent only prints commands. Let it run some with --allow"
        })
      })
    )
  )

  it.live("prints JSON alone about a broken connection with --json, as a script does, too", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["--port", "0"])
      yield* says(server.stdout, /listening/)
      const port = /:(\d+)\n/.exec(server.stdout())![1]!
      const script = yield* rankd(["connect", "--port", port, "--json"])
      script.input("PING ready\n", "more")
      yield* says(script.stdout, /ready/)
      const agent = yield* rankd(["agent", "--port", port, "--json"])
      yield* says(agent.stderr, /Ranked/)
      server.child.kill("SIGTERM")
      yield* says(agent.stderr, /NotConnected/)
      assert.strictEqual(yield* script.exit, 75)
      assert.deepStrictEqual(parsed(script.stdout()), [{ _tag: "Pong", text: "ready" }])
      assert.deepStrictEqual(parsed(script.stderr()), [
        { _tag: "Bye", reason: "shutting down" },
        { _tag: "Failed", message: "connection lost; the rest was not sent" }
      ])
      assert.strictEqual(parsed(agent.stderr()).at(-1)._tag, "NotConnected")
    }).pipe(Effect.scoped)
  )

  it.live.each([
    [["SIGTERM", "SIGTERM"], 143],
    [["SIGTERM", "SIGINT"], 130],
    [["SIGQUIT", "SIGTERM"], 143]
  ] as const)("leaves no process behind after signals: %s", ([signals, status]) =>
    withServer(
      Effect.gen(function* () {
        const boss = yield* client
        boss.send("WATCH")
        const folder = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-agent-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true }))
        )
        writeFileSync(join(folder, "stubborn"), '#!/bin/sh\ntrap "" TERM\necho $$\nwhile :; do sleep 0.1; done\n', {
          mode: 0o755
        })
        const agent = yield* rankd(["agent", ...(yield* to), "--allow", "./stubborn", "--cwd", folder])
        yield* boss.until((line) => line.startsWith("JOINED"))
        boss.send("EXEC#1 1 ./stubborn")
        const lines = yield* boss.until((line) => line.startsWith("OUTPUT#1 1 "))
        const pid = Number(/OUTPUT#1 1 (\d+)/.exec(lines.at(-1)!)![1])
        agent.child.kill(signals[0])
        yield* boss.until((line) => line.startsWith("RESULT#1 1 lost"))
        agent.child.kill(signals[1])
        assert.strictEqual(yield* agent.exit, status)
        yield* gone(pid)
      })
    )
  )

  it.live("warns if its commands may run longer than the server waits for any of them", () =>
    Effect.gen(function* () {
      const warning =
        "--timeout 7: the server ends every command after 5s at most (its --max-command-timeout), and drops later outcomes"
      const agent = yield* rankd(["agent", ...(yield* to), "--timeout", "7", "--allow", "x"])
      yield* says(agent.stderr, /rank 0 of 1/)
      yield* says(agent.stderr, /max-command-timeout/)
      assert.include(agent.stderr(), `rankd: ${warning}\n`)
      const asJson = yield* rankd(["agent", ...(yield* to), "--timeout", "7", "--allow", "x", "--json"])
      yield* says(asJson.stderr, /Notice/)
      assert.deepInclude(parsed(asJson.stderr()), { _tag: "Notice", message: warning })
      const within = yield* rankd(["agent", ...(yield* to), "--timeout", "5", "--allow", "x"])
      yield* says(within.stderr, /rank 2 of 3/)
      yield* Effect.sleep("200 millis")
      assert.notInclude(within.stderr(), "max-command-timeout")
    }).pipe(
      Effect.scoped,
      Effect.provide(serverLayer({ commandTimeout: Duration.seconds(3), maxCommandTimeout: Duration.seconds(5) }))
    )
  )

  it.live("goes on when its output cannot be written, and counts what is missing", () =>
    withServer(
      Effect.gen(function* () {
        const boss = yield* client
        boss.send("WATCH")
        const agent = yield* shell(
          `exec ${rankdCommand} agent ${(yield* to).join(" ")} --allow 'echo *' --allow 'sleep *' >/dev/full`
        )
        yield* boss.until((line) => line.startsWith("JOINED"))
        boss.send("EXEC#long 1 sleep 1")
        const outcomes = ["RESULT#long 1 0"]
        for (const id of ["1", "2", "3"]) {
          boss.send(`EXEC#${id} 1 echo ${id}`)
          outcomes.push(`RESULT#${id} 1 0 ${id}\\n`)
        }
        yield* until(() => outcomes.every((outcome) => boss.heard.includes(outcome)))
        agent.child.kill("SIGTERM")
        assert.strictEqual(yield* agent.exit, 0)
        const notices = agent.stderr().match(/^rankd: \d+ lines? could not be printed: .*ENOSPC.*$/gm)!
        const counts = notices.map((notice) => Number(/\d+/.exec(notice)![0]))
        assert.strictEqual(counts[0], 1)
        assert.strictEqual(
          counts.reduce((sum, count) => sum + count),
          outcomes.length
        )
      })
    )
  )

  it.live("ends with a script that cannot print the answers", () =>
    withServer(
      Effect.gen(function* () {
        const script = yield* shell(`exec ${rankdCommand} connect ${(yield* to).join(" ")} >/dev/full`)
        script.input("PING a\nPING b\n")
        assert.strictEqual(yield* script.exit, 74)
        assert.match(script.stderr(), /^rankd: cannot write the output: .*ENOSPC/)
      })
    )
  )

  it.live("names a wrong pattern, policy or folder", () =>
    Effect.gen(function* () {
      for (const [args, error] of [
        [["--allow", "* x"], /--allow.*name the command itself: \* may stand in its arguments only/],
        [["--allow", ""], /a pattern begins with a command, like uptime/],
        [["--policy", "no-such-file"], /no-such-file/],
        [["--policy", "README.md"], /--policy.*line \d+: name the command itself/],
        [["--cwd", "no-such-folder"], /no-such-folder/],
        [["--max-running", "0"], /a whole number from 1 to 10000/]
      ] as const) {
        const ended = yield* rankdHere(["agent", ...args])
        assert.strictEqual(ended.status, 2, args.join(" "))
        assert.match(ended.stderr, error)
        assert.isBelow(ended.stderr.length, 500)
      }
    })
  )
})

describe("rankd lead", { concurrent: true }, () => {
  it.live("runs the command with the epoch, and exits with its status", () =>
    withServer(
      Effect.gen(function* () {
        const run = yield* rankd([
          "lead",
          ...(yield* to),
          "--",
          "sh",
          "-c",
          'echo "$RANKD_RANK $RANKD_EPOCH $RANKD_MEMBER"; exit 7'
        ])
        assert.strictEqual(yield* run.exit, 7)
        assert.match(run.stdout(), /^0 [0-9]+ m1\n$/)
        const missing = yield* rankdHere(["lead", ...(yield* to), "--", "no-such-command"])
        assert.strictEqual(missing.status, 127)
        assert.match(missing.stderr, /^rankd: cannot run no-such-command: not found$/m)
      })
    )
  )

  it.live("exits like a shell when a signal ends the command", () =>
    withServer(
      Effect.gen(function* () {
        const killed = yield* rankd(["lead", ...(yield* to), "--json", "--", "sh", "-c", "kill -9 $$"])
        assert.strictEqual(yield* killed.exit, 137)
        const [ranked, { time: _, ...ended }] = parsed(killed.stderr())
        assert.deepInclude(ranked, { _tag: "Ranked", rank: 0, member: "m1" })
        assert.deepStrictEqual(ended, { _tag: "Ended", status: 137, signal: "SIGKILL" })
        const realTime = yield* rankd(["lead", ...(yield* to), "--", "sh", "-c", "kill -40 $$"])
        assert.strictEqual(yield* realTime.exit, 168)
        assert.match(realTime.stderr(), /^rankd: \S+ ended by SIGRTMIN\+6: sh$/m)
      })
    )
  )

  it.live("ends the command and its children when the connection breaks, and leads again later", () =>
    Effect.gen(function* () {
      const first = yield* rankd(["--port", "0"])
      yield* says(first.stdout, /listening/)
      const port = /:(\d+)\n/.exec(first.stdout())![1]!
      const run = yield* rankd([
        ...["lead", "--port", port, "--", "sh", "-c"],
        'trap "echo stopped; exit 0" TERM; sleep 1000 & echo "leads $!"; wait'
      ])
      yield* says(run.stdout, /leads/)
      const child = Number(/leads (\d+)/.exec(run.stdout())![1])
      first.child.kill("SIGKILL")
      yield* says(run.stdout, /stopped/)
      yield* gone(child)
      yield* rankd(["--port", port])
      yield* says(run.stdout, /stopped\nleads/)
      assert.match(run.stderr(), /connection lost; trying again\n(?:rankd: .*\n)*rankd: \S+ rank 0 of 1/)
    }).pipe(Effect.scoped)
  )

  it.live("ends its command after a signal, and another machine takes over", () =>
    withServer(
      Effect.gen(function* () {
        const command = [
          "--",
          "sh",
          "-c",
          'trap "echo stopped; exit 0" TERM; echo "leads $RANKD_EPOCH"; while :; do sleep 0.05; done'
        ]
        const one = yield* rankd(["lead", ...(yield* to), ...command])
        yield* says(one.stdout, /leads/)
        const two = yield* rankd(["lead", ...(yield* to), ...command])
        yield* says(two.stderr, /rank 1 of 2/)
        assert.strictEqual(two.stdout(), "")
        one.child.kill("SIGTERM")
        // The command chose this status.
        assert.strictEqual(yield* one.exit, 0)
        assert.match(one.stdout(), /^leads [0-9]+\nstopped\n$/)
        yield* says(two.stdout, /leads/)
        const epoch = (output: string) => Number(/leads ([0-9]+)/.exec(output)![1])
        assert.isAbove(epoch(two.stdout()), epoch(one.stdout()))
      })
    )
  )

  it.live("kills a command that does not end within two seconds", () =>
    withServer(
      Effect.gen(function* () {
        const stubborn = yield* rankd([
          "lead",
          ...(yield* to),
          "--",
          "sh",
          "-c",
          'trap "" TERM; echo "pid $$"; while :; do sleep 0.05; done'
        ])
        yield* says(stubborn.stdout, /pid/)
        const pid = Number(/pid ([0-9]+)/.exec(stubborn.stdout())![1])
        const start = Date.now()
        stubborn.child.kill("SIGTERM")
        yield* stubborn.exit
        assert.isAtLeast(Date.now() - start, 1900)
        assert.isBelow(Date.now() - start, 4900)
        assert.throws(() => process.kill(pid, 0))
      })
    )
  )
})
