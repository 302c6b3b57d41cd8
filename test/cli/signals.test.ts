/** What signals do to each command. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { gone, rankd, rankdCommand, says, shell, stopped } from "../support/process.ts"
import { terminal } from "../support/tmux.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer({ settle: Duration.zero }))) as Effect.Effect<A, E>

/** A command that connects to the server of the test, once it is a member. */
const member = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const [command, ...rest] = args as [string, ...Array<string>]
  const watcher = yield* client
  watcher.send("WATCH")
  yield* watcher.until((line) => line.startsWith("END"))
  const run = yield* rankd([command, "--port", `${yield* Port}`, ...rest])
  yield* watcher.until((line) => line.startsWith("JOINED"))
  return { run, watcher }
})

describe("SIGUSR1", { concurrent: true }, () => {
  it.live.each([["agent"], ["connect"], ["watch"], ["lead", "--", "sleep", "60"]])("opens no debugger: %s", (args) =>
    withServer(
      Effect.gen(function* () {
        const { run } = yield* member(args)
        run.child.kill("SIGUSR1")
        yield* Effect.sleep("500 millis")
        assert.isFalse(run.ended())
        assert.notMatch(run.stderr(), /debugger|inspector/i)
      })
    )
  )

  it.live("opens no debugger: serve", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"])
      const a = yield* run.connect
      run.child.kill("SIGUSR1")
      a.send("PING")
      yield* a.until((line) => line === "PONG")
      yield* Effect.sleep("300 millis")
      assert.notMatch(run.stderr(), /debugger|inspector/i)
    }).pipe(Effect.scoped)
  )
})

/** The one child of a process. */
const childOf = (pid: number) => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8"))

/** A script with an open command, and the client that executes the command. */
const script = Effect.fnUntraced(function* (start: (port: number) => ReturnType<typeof rankd>, to = "1") {
  const run = yield* start(yield* Port)
  run.input("PING ready\n", "more")
  yield* says(run.stdout, /pong.*ready/i)
  const worker = yield* client
  yield* worker.until((line) => line.startsWith("RANK"))
  run.input(`EXEC#1 ${to} work\nEXEC#2 1 next\n`, "more")
  yield* worker.until((line) => line.startsWith("EXEC#"))
  return { run, worker }
})

const scriptOf = (port: number) => rankd(["connect", "--port", `${port}`])

/** A script with an open command, on a server that is stopped. */
const stuck = Effect.gen(function* () {
  const server = yield* rankd(["--port", "0"])
  const first = yield* server.connect
  const run = yield* scriptOf(first.socket.remotePort!)
  run.input("PING ready\n", "more")
  yield* says(run.stdout, /PONG ready/)
  const target = yield* server.connect
  yield* target.until((line) => line.startsWith("RANK"))
  run.input("EXEC#1 2 work\n", "more")
  yield* target.until((line) => line.startsWith("EXEC#1 "))
  server.child.kill("SIGSTOP")
  return { run, server }
})

describe("a script that is interrupted", { concurrent: true }, () => {
  it.live.each([
    ["SIGINT", "1"],
    ["SIGTERM", "*"],
    ["SIGHUP", "1"]
  ] as const)("cancels what is open, and ends by that signal: %s", ([signal, to]) =>
    withServer(
      Effect.gen(function* () {
        const { run, worker } = yield* script(scriptOf, to)
        run.child.kill(signal)
        yield* worker.until((line) => line.startsWith("CANCEL#"))
        assert.strictEqual(yield* run.exit, null)
        assert.strictEqual(run.child.signalCode, signal)
        assert.strictEqual(run.stdout(), `PONG ready\nRESULT#1 1 cancelled\n${to === "*" ? "DONE#1 0 1\n" : ""}`)
        assert.strictEqual(run.stderr(), `rankd: ${signal}: cancelling #1\n`)
        assert.notInclude(worker.heard.join(), "next")
      })
    )
  )

  it.live("says so in JSON with --json", () =>
    withServer(
      Effect.gen(function* () {
        const { run } = yield* script((port) => rankd(["connect", "--json", "--port", `${port}`]))
        run.child.kill("SIGTERM")
        yield* run.exit
        assert.deepStrictEqual(JSON.parse(run.stderr()), { _tag: "Notice", message: "SIGTERM: cancelling #1" })
      })
    )
  )

  it.live("ends soon though the server does not answer", () =>
    withServer(
      Effect.gen(function* () {
        const { run, server } = yield* stuck
        const start = performance.now()
        run.child.kill("SIGTERM")
        yield* run.exit
        server.child.kill("SIGCONT")
        assert.strictEqual(run.child.signalCode, "SIGTERM")
        assert.isBelow(performance.now() - start, 4000)
      })
    )
  )

  it.live("ends at once, and by the second signal, on a second one", () =>
    withServer(
      Effect.gen(function* () {
        const { run, server } = yield* stuck
        run.child.kill("SIGTERM")
        yield* says(run.stderr, /cancelling #1/)
        run.child.kill("SIGINT")
        assert.strictEqual(yield* run.exit, null)
        server.child.kill("SIGCONT")
        assert.strictEqual(run.child.signalCode, "SIGINT")
      })
    )
  )

  it.live("as the first process of a container exits with 128 and the number of the signal", () =>
    withServer(
      Effect.gen(function* () {
        const own = process.getuid?.() === 0 ? "" : "--user --map-root-user"
        const { run, worker } = yield* script((port) =>
          shell(`exec unshare ${own} --pid --fork ${rankdCommand} connect --port ${port}`)
        )
        process.kill(childOf(run.child.pid!), "SIGTERM")
        yield* worker.until((line) => line.startsWith("CANCEL#"))
        assert.strictEqual(yield* run.exit, 143)
      })
    )
  )

  it.live("stops the loop of a shell", () =>
    withServer(
      Effect.gen(function* () {
        const loop = (connect: string) => `exec bash -c 'for i in 1 2; do ${connect}; done; echo next step'`
        const { run } = yield* script((port) => shell(loop(`${rankdCommand} connect --port ${port}`)))
        // As a terminal does it: to the whole group.
        process.kill(-run.child.pid!, "SIGINT")
        yield* run.exit
        assert.notInclude(run.stdout(), "next step")
      })
    )
  )
})

describe("a command that is interrupted before it has finished", { concurrent: true }, () => {
  it.live.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("ends by that signal: ranks, %s", (signal) =>
    Effect.gen(function* () {
      /** Takes connections, and never answers. */
      const silent = yield* Effect.acquireRelease(
        Effect.callback<ReturnType<typeof createServer>>((resume) => {
          const server = createServer((socket) => socket.on("error", () => {}))
          server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
        }),
        (server) => Effect.sync(() => server.close())
      )
      const connected = new Promise((resolve) => silent.once("connection", resolve))
      const { port } = silent.address() as { port: number }
      const run = yield* rankd(["ranks", "--port", `${port}`])
      yield* Effect.promise(() => connected)
      run.child.kill(signal)
      assert.strictEqual(yield* run.exit, null)
      assert.deepStrictEqual([run.child.signalCode, run.stderr()], [signal, ""])
    }).pipe(Effect.scoped)
  )

  it.live("ends by that signal: a prompt, which cancels what is open", () =>
    withServer(
      Effect.gen(function* () {
        const { shows, type } = yield* terminal(
          `RANKD_HISTORY= sh -c 'echo pid $$; exec ${rankdCommand} connect --port ${yield* Port}'`
        )
        const pid = Number(/^pid (\d+)$/m.exec(yield* shows(/rank 0 of 1>/))![1])
        const worker = yield* client
        yield* shows(/rank 0 of 2>/)
        yield* type("EXEC#1 1 work", "Enter")
        yield* worker.until((line) => line.startsWith("EXEC#"))
        process.kill(pid, "SIGTERM")
        yield* worker.until((line) => line.startsWith("CANCEL#"))
        yield* shows(/SIGTERM: cancelling #1\n(?:.*\n)*\[exit 143\]/)
        yield* gone(pid)
      })
    )
  )
})

describe("a command that leads", { concurrent: true }, () => {
  const work = 'trap "echo stopped; trap - TERM; kill $$" TERM; echo $$; sleep 60 & wait'

  it.live.each(["SIGINT", "SIGTERM", "SIGQUIT"] as const)("ends its work, and ends by that signal: %s", (signal) =>
    withServer(
      Effect.gen(function* () {
        const run = yield* rankd(["lead", "--port", `${yield* Port}`, "--", "sh", "-c", work])
        yield* says(run.stdout, /^\d+\n/)
        run.child.kill(signal)
        assert.strictEqual(yield* run.exit, null)
        const [pid, last] = run.stdout().split("\n")
        assert.deepStrictEqual([run.child.signalCode, last], [signal, "stopped"])
        yield* gone(Number(pid))
      })
    )
  )

  it.live("ends by the signal while it waits for rank 0", () =>
    withServer(
      Effect.gen(function* () {
        yield* client
        const { run } = yield* member(["lead", "--", "true"])
        run.child.kill("SIGTERM")
        assert.strictEqual(yield* run.exit, null)
        assert.strictEqual(run.child.signalCode, "SIGTERM")
      })
    )
  )

  it.live("stops the loop of a shell", () =>
    withServer(
      Effect.gen(function* () {
        const lead = `${rankdCommand} lead --port ${yield* Port} -- sh -c "echo leads; sleep 60"`
        const run = yield* shell(`exec bash -c 'for i in 1 2; do ${lead}; done; echo next step'`)
        yield* says(run.stdout, /leads/)
        process.kill(-run.child.pid!, "SIGINT")
        yield* run.exit
        assert.strictEqual(run.stdout(), "leads\n")
      })
    )
  )
})

describe("an agent", () => {
  it.live.each(["SIGQUIT", "SIGUSR2"] as const)(
    "ends what runs, and ends by a signal that is no usual stop: %s",
    (signal) =>
      withServer(
        Effect.gen(function* () {
          const { run, watcher } = yield* member(["agent", "--allow", "sleep *"])
          watcher.send("EXEC#1 1 sleep 1000")
          yield* Effect.sleep("300 millis")
          run.child.kill(signal)
          yield* watcher.until((line) => line.startsWith("RESULT#1 1 lost"))
          assert.strictEqual(yield* run.exit, null)
          assert.strictEqual(run.child.signalCode, signal)
        })
      )
  )
})

/** Raises a signal while the program loads: after its first statement, which keeps the debugger shut. */
const raised = (signal: string) => {
  const raise = `queueMicrotask(()=>process.kill(process.pid,'${signal}'))`
  const hook = `process.on('newListener',(name)=>name==='SIGUSR1'&&${raise})`
  return { NODE_OPTIONS: `--import=data:text/javascript,${hook}` }
}

describe("a signal that comes while the program loads", { concurrent: true }, () => {
  it.live.each([
    [/nothing to reload/, ["--port", "0"]],
    [/nothing to reload/, ["agent"]],
    [/nothing to reload/, ["watch"]],
    [/no command runs that this signal could reach/, ["lead", "--", "sleep", "60"]]
  ] as const)("waits, and ends no service: SIGHUP, %s, %s", ([notice, args]) =>
    withServer(
      Effect.gen(function* () {
        const to = args[0] === "--port" ? [] : ["--port", `${yield* Port}`]
        const [first, ...rest] = args
        const run = yield* rankd([first, ...to, ...rest], raised("SIGHUP"))
        yield* says(run.stderr, notice)
        assert.isFalse(run.ended())
      })
    )
  )

  it.live.each(["ranks", "connect"])("waits, and ends the command: SIGHUP, %s", (command) =>
    Effect.gen(function* () {
      const run = yield* rankd([command, "--port", "1"], raised("SIGHUP"))
      assert.strictEqual(yield* run.exit, null)
      assert.deepStrictEqual([run.child.signalCode, run.stderr()], ["SIGHUP", ""])
    }).pipe(Effect.scoped)
  )

  it.live("ends the first process of a container, too", () =>
    Effect.gen(function* () {
      const own = process.getuid?.() === 0 ? "" : "--user --map-root-user"
      const { NODE_OPTIONS } = raised("SIGTERM")
      const env = `NODE_OPTIONS="${NODE_OPTIONS}"`
      const run = yield* shell(`exec unshare ${own} --pid --fork env ${env} ${rankdCommand} --port 0`)
      // The server may have begun to serve when it gets to the signal.
      assert.include([0, 143], yield* run.exit)
    }).pipe(Effect.scoped)
  )
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-signals-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("SIGHUP without a terminal", { concurrent: true }, () => {
  it.live("does not end a server that has nothing to reload", () =>
    Effect.gen(function* () {
      const run = yield* rankd(["--port", "0"])
      const a = yield* run.connect
      run.child.kill("SIGHUP")
      yield* says(run.stderr, /level=INFO .*message="nothing to reload"/)
      a.send("PING")
      yield* a.until((line) => line === "PONG")
      run.child.kill("SIGTERM")
      assert.strictEqual(yield* run.exit, 0)
    }).pipe(Effect.scoped)
  )

  it.live.each([
    [0, /^rankd: nothing to reload$/m, ["agent"]],
    [0, /^rankd: nothing to reload$/m, ["watch"]],
    [null, /^rankd: \S+ no command runs that this signal could reach$/m, ["lead", "--", "sleep", "60"]]
  ] as const)(
    "does not end a command that has nothing to reload, with status %s at its end: %s",
    ([status, notice, args]) =>
      withServer(
        Effect.gen(function* () {
          const { run, watcher } = yield* member(args)
          run.child.kill("SIGHUP")
          yield* says(run.stderr, notice)
          run.child.kill("SIGTERM")
          yield* watcher.until((line) => line.startsWith("LEFT"))
          assert.strictEqual(yield* run.exit, status)
        })
      )
  )

  it.live("has an agent read its policy again, and keep it where the new one is wrong", () =>
    withServer(
      Effect.gen(function* () {
        const policy = join(yield* folder, "policy")
        writeFileSync(policy, "echo old\n")
        const { run, watcher } = yield* member(["agent", "--policy", policy, "--allow", "echo always"])
        let id = 0
        const outcome = Effect.fnUntraced(function* (command: string) {
          watcher.send(`EXEC#${++id} 1 ${command}`)
          return (yield* watcher.until((line) => line.startsWith(`RESULT#${id} `)))
            .at(-1)!
            .split(" ")
            .slice(2)
            .join(" ")
        })
        const outcomes = Effect.forEach(["echo old", "echo new", "echo always"], outcome)
        assert.deepStrictEqual(yield* outcomes, ["0 old\\n", "denied", "0 always\\n"])
        writeFileSync(policy, "* wrong\n")
        run.child.kill("SIGHUP")
        yield* says(run.stderr, /^rankd: not reloaded: --policy .*line 1: .*The agent keeps what it had$/m)
        assert.deepStrictEqual(yield* outcomes, ["0 old\\n", "denied", "0 always\\n"])
        writeFileSync(policy, "echo new\n")
        run.child.kill("SIGHUP")
        yield* says(run.stderr, /^rankd: reloaded the policy$/m)
        assert.deepStrictEqual(yield* outcomes, ["denied", "0 new\\n", "0 always\\n"])
      })
    )
  )

  it.live("is survived under nohup, when the terminal is closed", () =>
    Effect.gen(function* () {
      const home = yield* folder
      const run = yield* stopped("012", `sh -c "cd ${home} && exec nohup ${rankdCommand} --port 0"`)
      const output = () => {
        try {
          return readFileSync(join(home, "nohup.out"), "utf8")
        } catch {
          return ""
        }
      }
      // It says so on the terminal.
      run.input("go\n", "more")
      yield* says(output, /listening/)
      run.input("hangup\n", "more")
      yield* says(output, /message="nothing to reload"/)
      const port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(output())![1])
      const wire = yield* Effect.provideService(client, Port, port)
      yield* wire.until((line) => line.startsWith("RANK"))
    }).pipe(Effect.scoped)
  )
})

describe("a terminal that is closed", { concurrent: true }, () => {
  it.live("stops a server in order, whatever it could reload", () =>
    Effect.gen(function* () {
      const tokens = join(yield* folder, "tokens")
      writeFileSync(tokens, "secret-of-16-characters\n")
      const run = yield* stopped("02", `${rankdCommand} --token-file ${tokens} --port 0`)
      const wire = yield* run.connect
      wire.send("AUTH secret-of-16-characters")
      yield* wire.until((line) => line.startsWith("RANK"))
      run.input("hangup\n", "more")
      assert.include(yield* wire.untilClosed, "BYE shutting down")
      assert.strictEqual(yield* run.exit, 0)
    }).pipe(Effect.scoped)
  )

  it.live("stops an agent in order, and what it runs", () =>
    withServer(
      Effect.gen(function* () {
        const boss = yield* client
        boss.send("WATCH")
        const run = yield* stopped("012", `${rankdCommand} agent --allow 'sleep *' --port ${yield* Port}`)
        yield* boss.until((line) => line.startsWith("JOINED"))
        boss.send("EXEC#1 1 sleep 1000")
        yield* Effect.sleep("300 millis")
        run.input("hangup\n", "more")
        yield* boss.until((line) => line.startsWith("LEFT 1 "))
        assert.strictEqual(yield* run.exit, 0)
      })
    )
  )

  it.live("stops a prompt, which cancels what is open", () =>
    withServer(
      Effect.gen(function* () {
        const { shows, type, close } = yield* terminal(`RANKD_HISTORY= ${rankdCommand} connect --port ${yield* Port}`)
        yield* shows(/rank 0 of 1>/)
        const worker = yield* client
        yield* shows(/rank 0 of 2>/)
        yield* type("EXEC#1 1 work", "Enter")
        yield* worker.until((line) => line.startsWith("EXEC#"))
        yield* close
        yield* worker.until((line) => line.startsWith("CANCEL#"))
      })
    )
  )
})
