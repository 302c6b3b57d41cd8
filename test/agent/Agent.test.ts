/** Commands as real processes, each test in a folder of its own. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, Result, type Scope } from "effect"
import * as Agent from "../../src/agent/Agent.ts"
import * as Policy from "../../src/agent/Policy.ts"
import type { IncomingCommand } from "../../src/index.ts"
import { gone } from "../support/process.ts"
import { until } from "../support/until.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-agent-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

/** Writes a shell script into the folder; it runs as `./<name>`. */
const script = (cwd: string, name: string, text: string) => {
  writeFileSync(join(cwd, name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(cwd, name), 0o755)
}

const incoming = (command: string, output: (text: string) => void): IncomingCommand => ({
  from: 0,
  command,
  epoch: undefined,
  output: (text) => Effect.sync(() => output(text))
})

/** An agent in a folder that allows these patterns. */
const agent = Effect.fnUntraced(function* (
  allow: ReadonlyArray<string>,
  options: Partial<Omit<Agent.AgentOptions, "allow">> = {}
) {
  const cwd = yield* folder
  const execute = yield* Agent.make({
    allow: allow.map((text) => Result.getOrThrow(Policy.pattern(text))),
    cwd,
    timeout: Duration.seconds(20),
    maxOutput: 65_536,
    maxRunning: 10,
    ...options
  })
  /** The outcome of a command with all of its output; `sent` gets the output that came before the outcome. */
  const run = (command: string, sent: (text: string) => void = () => {}) => {
    let before = ""
    const output = (text: string) => {
      before += text
      sent(text)
    }
    return Effect.map(execute(incoming(command, output)), (ended) =>
      ended.output === undefined ? ended : { ...ended, output: before + ended.output }
    )
  }
  return { cwd, run }
})

/** Waits until the folder has a file of this name. */
const there = (cwd: string, name: string) => until(() => existsSync(join(cwd, name)))

const live = <A, E>(name: string, test: Effect.Effect<A, E, NodeServices.NodeServices | Scope.Scope>) =>
  it.live(name, () => test.pipe(Effect.scoped, Effect.provide(NodeServices.layer)))

describe("Agent", { concurrent: true, timeout: 60_000 }, () => {
  live(
    "runs an allowed command as an argument vector, in its folder and a clean environment",
    Effect.gen(function* () {
      const hostile = ["a;b", "$(id)", "`id`", "$HOME", "'x'", '"y"', ">z", "|", "cat", "&&", "../up", "-n", "é\u0430"]
      const literal = `printf %s, ${hostile.join(" ")}`
      const { cwd, run } = yield* agent(["env", "pwd", literal, "false", "./both"])
      assert.deepStrictEqual(yield* run("env"), {
        status: 0,
        output: "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nLANG=C.UTF-8\n"
      })
      assert.deepStrictEqual(yield* run("pwd"), { status: 0, output: `${cwd}\n` })
      assert.strictEqual((yield* run(literal)).output, `${hostile.join(",")},`)
      assert.deepStrictEqual(yield* run("false"), { status: 1, output: "" })
      script(cwd, "both", "echo out; echo err >&2; exit 7")
      const both = yield* run("./both")
      assert.strictEqual(both.status, 7)
      assert.sameMembers(both.output!.split("\n"), ["out", "err", ""])
    })
  )

  live(
    "denies every other command, and runs no part of it",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["echo *", "cat ./*", "./safe *"])
      script(cwd, "safe", 'echo "$@" >>log')
      for (const command of [
        "touch marker",
        "echo a;touch marker",
        "echo a; touch marker",
        "echo $(touch marker)",
        "echo `touch marker`",
        "echo a\ntouch marker",
        "echo a\u0000touch marker",
        "./safe -x",
        "./safe --option=touch",
        "./safe ../marker",
        "cat ./../marker",
        "cat ./..",
        "./safe \u0430",
        "./safe \uff0e\uff0e",
        "\u0435cho a",
        "sh -c touch",
        "./safe a b",
        "./safe",
        ""
      ]) {
        assert.deepStrictEqual(yield* run(command), { status: "denied" }, JSON.stringify(command))
      }
      assert.isFalse(existsSync(join(cwd, "marker")))
      assert.isFalse(existsSync(join(cwd, "log")))
      assert.deepStrictEqual(yield* run("./safe a.b-c"), { status: 0, output: "" })
    })
  )

  live(
    "reports why a command did not start, or was killed",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["no-such-command", "./plain", "./suicide"])
      writeFileSync(join(cwd, "plain"), "no program")
      script(cwd, "suicide", "echo before; kill -9 $$")
      assert.deepStrictEqual(yield* run("no-such-command"), { status: 127, output: "no-such-command: not found\n" })
      assert.deepStrictEqual(yield* run("./plain"), { status: 126, output: "./plain: permission denied\n" })
      assert.deepStrictEqual(yield* run("./suicide"), { status: "failed", output: "before\n" })
    })
  )

  live(
    "kills a command that takes too long, with its process group, even if it ignores SIGTERM",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./stubborn"], { timeout: Duration.millis(500) })
      script(
        cwd,
        "stubborn",
        `trap "" TERM; sh -c 'trap "" TERM; while :; do sleep 0.1; done' & echo $! $$; wait; while :; do sleep 0.1; done`
      )
      const ended = yield* run("./stubborn")
      assert.strictEqual(ended.status, "failed")
      const [, child, parent] = /^(\d+) (\d+)\nkilled after 500ms\n$/.exec(ended.output!)!
      yield* gone(Number(child))
      yield* gone(Number(parent))
    })
  )

  live(
    "leaves no process of a command behind",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./forks", "./fails"])
      script(cwd, "forks", "sleep 1000 & echo $!")
      script(cwd, "fails", "sleep 1000 & echo $!; exit 3")
      const [forks, fails] = yield* Effect.all([run("./forks"), run("./fails")], { concurrency: 2 })
      assert.deepStrictEqual([forks.status, fails.status], [0, 3])
      yield* gone(Number(forks.output))
      yield* gone(Number(fails.output))
    })
  )

  live(
    "kills a withdrawn command",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./waits"])
      script(cwd, "waits", "sleep 1000 & echo $! >child; echo $$ >parent.new; mv parent.new parent; wait")
      const running = yield* Effect.forkChild(run("./waits"))
      yield* there(cwd, "parent")
      yield* Fiber.interrupt(running)
      for (const name of ["child", "parent"]) yield* gone(Number(readFileSync(join(cwd, name), "utf8")))
    })
  )

  live(
    "limits the output, and is not held up by a command that prints without end",
    Effect.gen(function* () {
      const { run } = yield* agent(["yes", "seq 100000 100009"], { timeout: Duration.seconds(2), maxOutput: 30 })
      const ended = yield* run("yes")
      assert.strictEqual(ended.output, `${"y\n".repeat(15)}killed after 2s\n`)
      assert.strictEqual(ended.status, "failed")
      assert.isTrue(ended.truncated)
      const cut = yield* run("seq 100000 100009")
      assert.deepStrictEqual(cut, { status: 0, output: "100000\n100001\n100002\n100003\n10", truncated: true })
    })
  )

  live(
    "sends output as it comes, and nothing twice",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./slow"])
      script(cwd, "slow", "printf 'a\\303'; until test -e go; do sleep 0.05; done; printf '\\251b'")
      const sent = yield* Deferred.make<string>()
      const running = yield* Effect.forkChild(
        run("./slow", (text) => {
          if (text !== "") Deferred.doneUnsafe(sent, Effect.succeed(text))
        })
      )
      assert.strictEqual(yield* Deferred.await(sent), "a")
      writeFileSync(join(cwd, "go"), "")
      assert.deepStrictEqual(yield* Fiber.join(running), { status: 0, output: "aéb" })
    })
  )

  live(
    "is busy while it runs as many commands as it may",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./waits", "true"], { maxRunning: 1 })
      script(cwd, "waits", "touch started; until test -e go; do sleep 0.05; done")
      const running = yield* Effect.forkChild(run("./waits"))
      yield* there(cwd, "started")
      assert.deepStrictEqual(yield* run("true"), { status: "busy" })
      writeFileSync(join(cwd, "go"), "")
      assert.strictEqual((yield* Fiber.join(running)).status, 0)
      assert.strictEqual((yield* run("true")).status, 0)
    })
  )
})
