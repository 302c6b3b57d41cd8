/** Commands as real processes, each test in a folder of its own. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber, PlatformError, Result, type Scope } from "effect"
import { ChildProcessSpawner } from "effect/process"
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

describe("Agent", { concurrent: true }, () => {
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
      assert.deepStrictEqual(yield* run("./suicide"), { status: 137, output: "before\nended by SIGKILL\n" })
    })
  )

  live(
    "says in words what is wrong with a program",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./crlf", "./lost", "./folder", "./file/x", "./ends-with-127", "echo *"])
      writeFileSync(join(cwd, "crlf"), "#!/bin/sh\r\nexit 0\r\n", { mode: 0o755 })
      writeFileSync(join(cwd, "lost"), "#! /no/such/shell -e\n", { mode: 0o755 })
      writeFileSync(join(cwd, "file"), "")
      mkdirSync(join(cwd, "folder"))
      script(cwd, "ends-with-127", "echo mine; exit 127")
      for (const [command, status, output] of [
        [
          "./crlf",
          127,
          './crlf: its first line names "/bin/sh\\r", which does not exist. Save the file without Windows line ends\n'
        ],
        ["./lost", 127, './lost: its first line names "/no/such/shell", which does not exist\n'],
        ["./folder", 126, "./folder: is a folder\n"],
        ["./file/x", 127, "./file/x: not found\n"],
        ["./ends-with-127", 127, "mine\n"],
        ["echo 'a b'", "denied", "no pattern allows this. Quotes are ordinary characters here: they join no words\n"],
        ['echo "a"', "denied", "no pattern allows this. Quotes are ordinary characters here: they join no words\n"]
      ] as const) {
        assert.deepStrictEqual(yield* run(command), { status, output }, command)
      }
    })
  )

  live(
    "reports 128 and the number of the signal that ended a command, with its name, and never 0",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./dies *", "./exits *", "./kills-its-group"])
      script(cwd, "dies", "printf here; kill -$1 $$")
      script(cwd, "exits", "exit $1")
      script(cwd, "kills-its-group", "kill -9 0")
      for (const [signal, status, name] of [
        ["9", 137, "SIGKILL"],
        ["11", 139, "SIGSEGV"],
        ["15", 143, "SIGTERM"],
        ["2", 130, "SIGINT"],
        ["13", 141, "SIGPIPE"],
        ["34", 162, "SIGRTMIN"],
        ["40", 168, "SIGRTMIN+6"],
        ["64", 192, "SIGRTMAX"]
      ] as const) {
        const output = `here\nended by ${name}\n`
        assert.deepStrictEqual(yield* run(`./dies ${signal}`), { status, output }, signal)
      }
      // A status is only a number if the command itself exits with it.
      for (const status of [128, 137, 143, 162, 255]) {
        assert.deepStrictEqual(yield* run(`./exits ${status}`), { status, output: "" })
      }
      assert.deepStrictEqual(yield* run("./kills-its-group"), { status: 137, output: "ended by SIGKILL\n" })
    })
  )

  live(
    "names the folder that it cannot run commands in",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["true", "./here"])
      const wrong = (reason: string) => ({ status: "failed" as const, output: reason })
      script(cwd, "here", "exit 0")
      renameSync(cwd, `${cwd}-moved`)
      assert.deepStrictEqual(yield* run("true"), wrong(`true: the folder ${cwd} does not exist\n`))
      assert.deepStrictEqual(yield* run("./here"), wrong(`./here: the folder ${cwd} does not exist\n`))
      writeFileSync(cwd, "")
      assert.deepStrictEqual(yield* run("true"), wrong(`true: ${cwd} is not a folder\n`))
      rmSync(cwd)
      renameSync(`${cwd}-moved`, cwd)
      assert.deepStrictEqual(yield* run("./here"), { status: 0, output: "" })
    })
  )

  live(
    "says in words why it cannot start any command",
    Effect.gen(function* () {
      for (const [code, reason] of [
        ["EACCES", "may not be entered"],
        ["EMFILE", "too many open files"],
        ["EAGAIN", "too many processes"],
        ["ESTRANGE", "ESTRANGE"]
      ] as const) {
        const cause = Object.assign(new Error(`spawn /bin/sh ${code}`), { code })
        const error = PlatformError.systemError({ _tag: "Unknown", module: "ChildProcess", method: "spawn", cause })
        // Node reports some errors by throwing them.
        for (const failure of [Effect.fail(error), Effect.die(cause)]) {
          const { run } = yield* Effect.provideService(
            agent(["true"]),
            ChildProcessSpawner.ChildProcessSpawner,
            ChildProcessSpawner.make(() => failure)
          )
          const { output, status } = yield* run("true")
          assert.strictEqual(status, "failed")
          assert.include(output!, reason)
        }
      }
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
      const { cwd, run } = yield* agent(["yes", "seq 100000 100009", "./fails"], {
        timeout: Duration.seconds(2),
        maxOutput: 30
      })
      const ended = yield* run("yes")
      assert.match(ended.output!, /^(y\n){7}y\n\.\.\. \d+ bytes are missing \.\.\.\n(y|y?(\ny)+)\nkilled after 2s\n$/)
      assert.strictEqual(ended.status, "failed")
      assert.isTrue(ended.truncated)
      assert.deepStrictEqual(yield* run("seq 100000 100009"), {
        status: 0,
        output: "100000\n100001\n1\n... 40 bytes are missing ...\n\n100008\n100009\n",
        truncated: true
      })
      // The reason is at the end.
      script(cwd, "fails", "seq 100000; echo FATAL >&2; exit 2")
      assert.deepStrictEqual(yield* run("./fails"), {
        status: 2,
        output: "1\n2\n3\n4\n5\n6\n7\n8\n... 588871 bytes are missing ...\n9\n100000\nFATAL\n",
        truncated: true
      })
    })
  )

  live(
    "keeps standard output and error in the order in which they were written",
    Effect.gen(function* () {
      const { cwd, run } = yield* agent(["./both"])
      script(cwd, "both", "for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done")
      const expected = Array.from({ length: 9 }, (_, i) => `out ${i + 1}\nerr ${i + 1}\n`).join("")
      assert.strictEqual((yield* run("./both")).output, expected)
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
