/** How `rankd lead` ends, and which signals, input and environment its command gets. */
import { readFileSync, writeFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankdHere } from "../support/cli.ts"
import { job, lead, processesOf, recordFile, started, stateOf, withServer } from "../support/lead.ts"
import { gone, rankd, rankdCommand, says, shell } from "../support/process.ts"
import { terminal } from "../support/tmux.ts"
import { Port } from "../support/wire.ts"

/** A job that prints `ready` once it runs `script`. */
const script = (text: string) => ["--", "sh", "-c", `${text}; echo ready; while :; do sleep 0.02; done`]

describe("lead that a signal ends", { concurrent: true }, () => {
  it.live.each(["SIGINT", "SIGTERM", "SIGQUIT", "SIGHUP"] as const)(
    "ends by that signal where its command has not run: %s",
    (signal) =>
      Effect.gen(function* () {
        // Without a terminal SIGHUP does not end it.
        const run = yield* rankd(["lead", "--port", "1", "--", "sleep", "60"])
        yield* says(run.stderr, /no answer/)
        run.child.kill(signal)
        if (signal === "SIGHUP") {
          yield* says(run.stderr, /no command runs/)
          run.child.kill("SIGTERM")
        }
        assert.strictEqual(yield* run.exit, null)
        assert.strictEqual(run.child.signalCode, signal === "SIGHUP" ? "SIGTERM" : signal)
      }).pipe(Effect.scoped)
  )

  it.live.each(["SIGINT", "SIGTERM", "SIGQUIT"] as const)(
    "ends its command, and then by that signal, if that killed the command: %s",
    (signal) =>
      withServer(
        Effect.gen(function* () {
          const file = yield* recordFile
          const run = yield* lead(job(file))
          yield* started(file)
          run.child.kill(signal)
          assert.strictEqual(yield* run.exit, null)
          assert.strictEqual(run.child.signalCode, signal)
          assert.deepStrictEqual(processesOf(file), [])
        })
      )
  )

  it.live.each([0, 7])("ends with the status that its command chose: %s", (status) =>
    withServer(
      Effect.gen(function* () {
        const run = yield* lead(script(`trap "exit ${status}" TERM`))
        yield* says(run.stdout, /ready/)
        run.child.kill("SIGTERM")
        assert.strictEqual(yield* run.exit, status)
      })
    )
  )

  it.live("ends with that status if the signal comes in the first moment of the command", () =>
    withServer(
      Effect.gen(function* () {
        // A shell is between `lead` and its command.
        const first = `trap "exit 7" TERM; read -r _ _ _ lead _ </proc/$PPID/stat; kill -TERM $lead`
        const run = yield* lead(script(first))
        assert.strictEqual(yield* run.exit, 7)
      })
    )
  )

  it.live("ends by the signal if the command had to be killed after --kill-after", () =>
    withServer(
      Effect.gen(function* () {
        const run = yield* lead(["--kill-after", "300ms", ...script("trap '' TERM")])
        yield* says(run.stdout, /ready/)
        const start = performance.now()
        run.child.kill("SIGTERM")
        assert.strictEqual(yield* run.exit, null)
        assert.strictEqual(run.child.signalCode, "SIGTERM")
        assert.isAtLeast(performance.now() - start, 290)
        assert.isBelow(performance.now() - start, 1500)
      })
    )
  )

  it.live("is 130 for a shell, and stops its loop", () =>
    withServer(
      Effect.gen(function* () {
        const command = `${rankdCommand} lead --port ${yield* Port} -- sh -c 'echo ready; exec sleep 60'`
        const loop = yield* shell(
          `exec bash -c 'for i in 1 2; do ${command.replaceAll("'", `'"'"'`)}; done; echo next'`
        )
        yield* says(loop.stdout, /ready/)
        process.kill(-loop.child.pid!, "SIGINT")
        yield* loop.exit
        assert.strictEqual(loop.stdout(), "ready\n")
      })
    )
  )

  it.live("exits with 128 and its number as the first process of a container, and does not wait for zombies", () =>
    withServer(
      Effect.gen(function* () {
        const own = process.getuid?.() === 0 ? "" : "--user --map-root-user"
        // The first `sleep` has lost its parent, so `lead` is its parent now: it becomes a zombie.
        const orphan = "(sleep 0.2 & exec true); sleep 0.5; echo ready; exec sleep 60"
        const run = yield* shell(
          `exec unshare ${own} --pid --fork --mount-proc ${rankdCommand} lead --port ${yield* Port} -- sh -c '${orphan}'`
        )
        yield* says(run.stdout, /ready/)
        const pid = Number(readFileSync(`/proc/${run.child.pid}/task/${run.child.pid}/children`, "utf8"))
        const start = performance.now()
        process.kill(pid, "SIGTERM")
        assert.strictEqual(yield* run.exit, 143)
        assert.isBelow(performance.now() - start, 1500)
      })
    )
  )
})

describe("the command of lead", { concurrent: true }, () => {
  it.live("gets HUP, USR1, USR2, WINCH and CONT, where there is no terminal", () =>
    withServer(
      Effect.gen(function* () {
        const signals = ["HUP", "USR1", "USR2", "WINCH", "CONT"] as const
        const run = yield* lead(script(signals.map((signal) => `trap "echo got ${signal}" ${signal}`).join("; ")))
        yield* says(run.stdout, /ready/)
        for (const signal of signals) {
          run.child.kill(`SIG${signal}`)
          yield* says(run.stdout, new RegExp(`got ${signal}\n`))
        }
      })
    )
  )

  it.live("is seen to end by a real-time signal", () =>
    withServer(
      Effect.gen(function* () {
        for (const number of [34, 40, 64]) {
          const run = yield* lead(["--", "sh", "-c", `kill -${number} $$`])
          assert.strictEqual(yield* run.exit, 128 + number)
        }
      })
    )
  )

  it.live("gets the whole of a pipe and of a file on its standard input", () =>
    withServer(
      Effect.gen(function* () {
        const length = 3_000_000
        const run = yield* lead(["--", "wc", "-c"])
        run.input("x".repeat(length))
        assert.strictEqual(yield* run.exit, 0)
        assert.strictEqual(run.stdout().trim(), `${length}`)
        const file = yield* recordFile
        writeFileSync(file, "y".repeat(length))
        const fromFile = yield* shell(`${rankdCommand} lead --port ${yield* Port} -- wc -c <${file}`)
        assert.strictEqual(yield* fromFile.exit, 0)
        assert.strictEqual(fromFile.stdout().trim(), `${length}`)
      })
    )
  )

  it.live("has no input on a terminal, stops at Ctrl-Z and continues with fg, and Ctrl-C ends it", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        const port = yield* Port
        const command = `sh -c 'cat; echo end of input; exec ${job(file).slice(1).join(" ")}'`
        const { shows, type } = yield* terminal("PS1='$ ' bash --norc --noprofile -i")
        yield* type(`${rankdCommand} lead --port ${port} --heartbeat 5s --kill-after 1s -- ${command}`, "Enter")
        yield* shows(/^end of input/m)
        const { pid } = yield* started(file)
        yield* type("C-z")
        yield* shows(/Stopped/)
        assert.strictEqual(stateOf(pid), "T")
        yield* type("fg", "Enter")
        while (stateOf(pid) === "T") yield* Effect.sleep("10 millis")
        yield* type("C-c")
        yield* gone(pid)
        yield* type("echo status $?", "Enter")
        yield* shows(/^status 130/m)
      })
    )
  )

  it.live("gets no token", () =>
    withServer(
      Effect.gen(function* () {
        const secrets = { RANKD_TOKEN: "secret-of-16-characters", RANKD_TOKEN_FILE: "secret", RANKD_TLS_KEY: "secret" }
        const run = yield* lead(["--", "env"], { ...secrets, OTHER: "stays" })
        assert.strictEqual(yield* run.exit, 0)
        assert.notMatch(run.stdout(), /RANKD_T|secret/)
        assert.match(run.stdout(), /^OTHER=stays$/m)
        assert.match(run.stdout(), /^RANKD_EPOCH=\d+$/m)
      })
    )
  )

  it.live("is not found, not executable, or empty", () =>
    withServer(
      Effect.gen(function* () {
        const port = `${yield* Port}`
        const outcome = Effect.fnUntraced(function* (command: string) {
          const { status, stderr } = yield* rankdHere(["lead", "--port", port, "--", command])
          return [status, /^rankd: (?!2\d{3}-)(.*)$/m.exec(stderr)?.[1]]
        })
        assert.deepStrictEqual(yield* outcome("no-such-command"), [127, "cannot run no-such-command: not found"])
        assert.deepStrictEqual(yield* outcome("./README.md"), [126, "cannot run ./README.md: permission denied"])
        assert.deepStrictEqual(yield* outcome("./docs"), [126, "cannot run ./docs: is a folder"])
        assert.deepStrictEqual(yield* outcome(""), [2, "<command> is empty"])
      })
    )
  )
})

describe("lead", { concurrent: true }, () => {
  it.live("stops waiting after --timeout, with status 75", () =>
    withServer(
      Effect.gen(function* () {
        const file = yield* recordFile
        yield* lead(job(file))
        yield* started(file)
        const start = performance.now()
        const second = yield* lead(["--timeout", "1.5s", "--", "true"])
        assert.strictEqual(yield* second.exit, 75)
        assert.isAtLeast(performance.now() - start, 1500)
        assert.match(second.stderr(), /not the leader within 1500ms/)
        const without = yield* rankd(["lead", "--port", "1", "--timeout", "300ms", "--", "true"])
        assert.strictEqual(yield* without.exit, 75)
      })
    )
  )

  it.live("runs the command for as long as it takes, once it leads within --timeout", () =>
    withServer(
      Effect.gen(function* () {
        const run = yield* lead(["--timeout", "5s", "--", "sleep", "5.5"])
        assert.strictEqual(yield* run.exit, 0)
      })
    )
  )

  it.live("takes no --kill-after that is longer than its heartbeat", () =>
    Effect.gen(function* () {
      const wrong = yield* rankdHere(["lead", "--heartbeat", "500ms", "--kill-after", "2s", "--", "true"])
      assert.deepStrictEqual(
        [wrong.status, wrong.stderr],
        [2, "rankd: --kill-after 2s: longer than --heartbeat, 500ms. The command must end while the lease runs\n"]
      )
      const word = yield* rankdHere(["lead", "--kill-after", "soon", "--", "true"])
      assert.match(word.stderr, /^rankd: --kill-after soon: not a duration from 0s to 1h, like 500ms, 2s or 5m$/m)
    })
  )

  it.live("prints the time with each message", () =>
    withServer(
      Effect.gen(function* () {
        const time = String.raw`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`
        const text = yield* lead(["--", "sh", "-c", "kill $$"])
        assert.strictEqual(yield* text.exit, 143)
        const lines = [`rankd: ${time} rank 0 of 1 in group default, as m1`, `rankd: ${time} ended by SIGTERM: sh`]
        assert.match(text.stderr(), new RegExp(`^${lines.join("\n")}\n$`))
        const json = yield* lead(["--json", "--", "sh", "-c", "kill $$"])
        yield* json.exit
        for (const line of json.stderr().trimEnd().split("\n")) {
          assert.match(JSON.parse(line).time, new RegExp(`^${time}$`))
        }
      })
    )
  )
})
