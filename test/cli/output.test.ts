/** Output whose reader is stopped, slow or gone. A terminal that is stopped takes nothing, as after Ctrl-S. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Writer } from "../../src/cli/output/Writer.ts"
import { rankdCommand, says, shell, stopped } from "../support/process.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer())) as Effect.Effect<A, E>

/** A client that may command those that come later, and hears of them. */
const boss = Effect.tap(client, (boss) => {
  boss.send("WATCH")
  return boss.until((line) => line.startsWith("END"))
})

/** How long `exit` takes, in milliseconds, and its status. */
const timed = Effect.fnUntraced(function* (exit: Effect.Effect<number | null>) {
  const start = performance.now()
  return { status: yield* exit, took: performance.now() - start }
})

describe("a server whose logs nobody reads", { concurrent: true }, () => {
  it.live.each(["terminal", "unread terminal", "pipe"])("serves, and ends with 0 on SIGTERM: %s", (where) =>
    Effect.gen(function* () {
      const run = yield* stopped(where === "pipe" ? "pipe2" : "2", `${rankdCommand} --port 0`)
      if (where === "unread terminal") run.input("go\n", "more")
      const first = yield* run.connect
      yield* first.until((line) => line.startsWith("RANK"))
      // More lines than the kernel buffers for a terminal.
      for (let i = 0; i < (where === "pipe" ? 300 : 60); i++) {
        const other = yield* run.connect
        other.send("NAME x", "QUIT")
        yield* other.untilClosed
      }
      first.send("PING")
      yield* first.until((line) => line === "PONG")
      run.child.kill("SIGTERM")
      yield* first.untilClosed
      const { status, took } = yield* timed(run.exit)
      assert.strictEqual(status, 0)
      assert.isBelow(took, 4000)
    }).pipe(Effect.scoped)
  )

  it.live("serves when Node has warned of something", () =>
    Effect.gen(function* () {
      const warn = "setInterval(()=>process.emitWarning('careful'),100)"
      const run = yield* stopped(
        "2",
        `env NODE_OPTIONS="--import=data:text/javascript,${warn}" ${rankdCommand} --port 0`
      )
      const first = yield* run.connect
      yield* Effect.sleep("500 millis")
      first.send("PING")
      yield* first.until((line) => line === "PONG")
      run.input("go\nread\n", "more")
      yield* says(run.stderr, /^rankd: careful\r$/m)
    }).pipe(Effect.scoped)
  )

  it.live("logs what it could not log before, once somebody reads", () =>
    Effect.gen(function* () {
      const run = yield* stopped("2", `${rankdCommand} --port 0`)
      const first = yield* run.connect
      yield* first.until((line) => line.startsWith("RANK"))
      run.input("go\nread\n", "more")
      yield* says(run.stderr, /message=joined member=m1/)
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
      assert.match(run.stderr(), /message=left member=m1 .*reason="shutting down"\r?\n$/)
    }).pipe(Effect.scoped)
  )
})

describe("what a command was asked to print", { concurrent: true }, () => {
  it.live.each([
    ["ranks", /^RANK .*\r\n0 +m1 .*\r\n1 +m2 .*\(this command\)\r\n$/],
    ["connect", /^PONG asked\r\n$/],
    ["--help", /EXAMPLES/],
    ["--version", /^rankd v/],
    ["--completions bash", /--max-pending/],
    ["token --name x", /shown this once: \S+\r\n.*sha256:.*\r\n$/]
  ] as const)("waits for its reader: %s", ([args, output]) =>
    withServer(
      Effect.gen(function* () {
        yield* boss
        const to = /^(?:ranks|connect)/.test(args) ? ` --port ${yield* Port}` : ""
        const run = yield* stopped("12", `sh -c "echo PING asked | ${rankdCommand} ${args}${to}"`)
        yield* Effect.sleep("2500 millis")
        assert.isFalse(run.ended())
        run.input("go\nread\n", "more")
        assert.strictEqual(yield* run.exit, 0)
        assert.match(run.stderr(), output)
      })
    )
  )

  it.live("waits for the reader of a pipe, however much it is", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* boss
        const connect = `${rankdCommand} connect --port ${yield* Port}`
        const run = yield* shell(
          `for i in 1 2 3 4 5 6; do printf 'PING %60000s\\n' $i; done | ${connect} | (sleep 2; wc -c)`
        )
        assert.strictEqual(yield* run.exit, 0)
        assert.strictEqual(Number(run.stdout()), 6 * "PONG \n".length + 6 * 60_000)
        first.send("QUIT")
      })
    )
  )
})

describe("a command whose terminal is stopped", { concurrent: true }, () => {
  it.live.each(["watch", "watch --json", "agent", "lead -- sleep 60"])("ends in order on SIGTERM: %s", (args) =>
    withServer(
      Effect.gen(function* () {
        const first = yield* boss
        const run = yield* stopped("12", `${rankdCommand} ${args.replace(/^\S+/, `$& --port ${yield* Port}`)}`)
        yield* first.until((line) => line.startsWith("JOINED"))
        yield* Effect.sleep("300 millis")
        run.child.kill("SIGTERM")
        yield* first.until((line) => line.startsWith("LEFT"))
        const { took } = yield* timed(run.exit)
        assert.strictEqual(run.child.exitCode ?? run.child.signalCode, args.startsWith("lead") ? "SIGTERM" : 0)
        assert.isBelow(took, 2500)
      })
    )
  )

  it.live("executes: an agent", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* boss
        yield* stopped("12", `${rankdCommand} agent --allow 'echo *' --port ${yield* Port}`)
        yield* first.until((line) => line.startsWith("JOINED"))
        for (let i = 0; i < 50; i++) {
          first.send(`EXEC#${i} 1 echo x${i}`)
          yield* first.until((line) => line === `RESULT#${i} 1 0 x${i}\\n`)
        }
      })
    )
  )

  it.live("says why it fails for a second at most, and keeps its status", () =>
    Effect.gen(function* () {
      const run = yield* stopped("12", `${rankdCommand} serve --tls-key x`)
      assert.strictEqual(yield* run.exit, 2)
    }).pipe(Effect.scoped)
  )
})

describe("a full disk", { concurrent: true }, () => {
  it.live.each(["--help", "--version", "help ranks", "--completions bash", "token --name x", "token --json"])(
    "fails a command that was asked to print: %s",
    (args) =>
      Effect.gen(function* () {
        const run = yield* shell(`exec ${rankdCommand} ${args} >/dev/full`)
        assert.strictEqual(yield* run.exit, 74)
        const said = run.stderr().split("\n").at(-2)!
        const { message } = args.includes("--json") ? JSON.parse(said) : { message: said.replace("rankd: ", "") }
        assert.match(message, /^cannot write the output: ENOSPC/)
        assert.notInclude(run.stderr(), "dropped")
      }).pipe(Effect.scoped)
  )

  it.live("fails a token that cannot be shown", () =>
    Effect.gen(function* () {
      const run = yield* shell(`exec ${rankdCommand} token --name x 2>/dev/full`)
      assert.deepStrictEqual([yield* run.exit, run.stdout()], [74, ""])
    }).pipe(Effect.scoped)
  )

  it.live("ends no server", () =>
    Effect.gen(function* () {
      const run = yield* shell(`exec ${rankdCommand} --port 0 --insecure >/dev/full`)
      yield* says(run.stderr, /anyone who reaches the port/)
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
      assert.match(run.stderr(), /^rankd: 1 line of output was dropped$/m)
    }).pipe(Effect.scoped)
  )

  it.live("is no concern of a reader that has read enough", () =>
    Effect.gen(function* () {
      const run = yield* shell(`exec bash -c 'set -o pipefail; ${rankdCommand} --help | head -1'`)
      assert.strictEqual(yield* run.exit, 0)
    }).pipe(Effect.scoped)
  )
})

describe("a writer", () => {
  /** Takes `room` bytes, or fails. */
  const sink = () => {
    const state = { room: 0, taken: "", failure: undefined as NodeJS.ErrnoException | undefined }
    const write = (bytes: Buffer) => {
      if (state.failure !== undefined) throw state.failure
      const fitting = bytes.subarray(0, state.room)
      state.room -= fitting.length
      state.taken += fitting.toString()
      return fitting.length
    }
    const dropped: Array<number> = []
    const writer = new Writer(
      () => ({ write, isBusy: () => false }),
      (lines) => dropped.push(lines)
    )
    return { state, writer, dropped }
  }

  const line = `${"x".repeat(1023)}\n`

  it.live("drops what is offered beyond a bound, never what is written, and says how much once there is room", () =>
    Effect.gen(function* () {
      const { dropped, state, writer } = sink()
      for (let i = 0; i < 2000; i++) writer.offer(line)
      for (let i = 0; i < 2000; i++) writer.write(line)
      assert.isFalse(writer.hasRoom)
      state.room = 1_000_000
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(dropped, [])
      state.room = Number.POSITIVE_INFINITY
      yield* writer.drained
      assert.strictEqual(state.taken, line.repeat(1025 + 2000))
      assert.deepStrictEqual(dropped, [2000 - 1025])
    })
  )

  it.live("counts what a full disk did not take, and continues when there is room again", () =>
    Effect.gen(function* () {
      const { dropped, state, writer } = sink()
      state.failure = Object.assign(new Error("full"), { code: "ENOSPC" })
      for (let i = 0; i < 3; i++) writer.write(line)
      yield* writer.drained
      assert.deepStrictEqual(dropped, [])
      // A listener counts the lines itself.
      const failures: Array<readonly [string | undefined, number]> = []
      const unregister = writer.onFailure(({ code }, lines) => failures.push([code, lines]))
      writer.write(line)
      unregister()
      assert.deepStrictEqual(failures, [["ENOSPC", 1]])
      Object.assign(state, { failure: undefined, room: Number.POSITIVE_INFINITY })
      writer.write(line)
      yield* writer.drained
      assert.deepStrictEqual([state.taken, dropped], [line, [3]])
    })
  )
})
