/** The prompt on a real terminal: Ctrl-C, sizes, and terminals without escapes. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankd, rankdCommand, says } from "../support/process.ts"
import { terminal } from "../support/tmux.ts"
import { client, Port, serverLayer } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer())) as Effect.Effect<A, E>

/** A prompt with rank 0, and a client below it. */
const prompt = Effect.fnUntraced(function* (env = "", args = "") {
  const shown = yield* terminal(`${env} RANKD_HISTORY= ${rankdCommand} connect --port ${yield* Port} ${args}`)
  yield* shown.shows(/rank 0 of 1>/)
  const worker = yield* client
  yield* shown.shows(/JOINED 1 m2/)
  return { ...shown, worker }
})

/** The same, and the client executes a command. */
const working = Effect.fnUntraced(function* (env?: string) {
  const all = yield* prompt(env)
  yield* all.type("EXEC#1 1 work", "Enter")
  yield* all.worker.until((line) => line.startsWith("EXEC#"))
  return all
})

const orders = (worker: { readonly heard: ReadonlyArray<string> }) =>
  worker.heard.filter((line) => line.startsWith("EXEC"))

describe("Ctrl-C at a prompt", { concurrent: true, timeout: 90_000 }, () => {
  it.live("cancels what is open, and says so; twice it quits", () =>
    withServer(
      Effect.gen(function* () {
        const { shows, type, worker } = yield* prompt()
        yield* type("EXEC#1 1 one", "Enter", "EXEC#2 * two", "Enter")
        yield* worker.until((line) => /^EXEC#\d+ 0 two/.test(line))
        yield* type("C-c")
        yield* worker.until((line) => line.startsWith("CANCEL#"))
        yield* worker.until((line) => line.startsWith("CANCEL#"))
        yield* shows(
          /cancelling #1, #2; Ctrl-C again quits\n(?:.*\n)*RESULT#1 1 cancelled\n(?:.*\n)*DONE#2 0 1\nrank 0 of 2>$/
        )
        // A line in between makes the next one the first again.
        yield* type("PING here", "Enter")
        yield* shows(/PONG here\n/)
        yield* type("C-c")
        yield* shows(/PONG here\nCtrl-C again, or Ctrl-D, quits\nrank 0 of 2>$/)
        yield* type("C-c")
        yield* shows(/\[exit 0\]/)
      })
    )
  )

  it.live("clears the line, as often as there is one", () =>
    withServer(
      Effect.gen(function* () {
        const { shows, type, worker } = yield* prompt()
        yield* type("EXEC 1 half", "C-c", "EXEC 1 other", "C-c")
        yield* shows(/rank 0 of 2>$/)
        yield* type("EXEC 1 whole", "Enter")
        yield* worker.until((line) => line === "EXEC 0 whole")
        assert.deepStrictEqual(orders(worker), [])
        yield* type("C-d")
        yield* shows(/\[exit 0\]/)
      })
    )
  )
})

describe("the end of a prompt", { concurrent: true, timeout: 90_000 }, () => {
  const ways = [["C-c", "C-c"], ["C-d"], ["QUIT", "Enter"]]

  it.live.each(ways.flatMap((keys) => ["", "TERM=dumb"].map((env) => ({ env, keys }))))(
    "cancels what is open, and says so: %o",
    ({ env, keys }) =>
      withServer(
        Effect.gen(function* () {
          const { shows, type, worker } = yield* working(env)
          yield* type(...keys)
          yield* worker.until((line) => line.startsWith("CANCEL#"))
          yield* shows(/cancelling #1(?:; .*)?\n(?:.*\n)*\[exit 0\]/)
        })
      )
  )
})

describe("a prompt with --json", { timeout: 90_000 }, () => {
  it.live("prints JSON alone, beside the line itself", () =>
    Effect.gen(function* () {
      const server = yield* rankd(["--port", "0"])
      yield* says(server.stdout, /listening/)
      const port = Number(/:(\d+)\n/.exec(server.stdout())![1])
      const { resize, scrolled, shows, type } = yield* terminal(
        `RANKD_HISTORY= ${rankdCommand} connect --json --port ${port}`
      )
      yield* resize(400, 40)
      yield* shows(/rank 0 of 1>/)
      const worker = yield* Effect.provideService(client, Port, port)
      yield* shows(/"Joined"/)
      yield* type("C-c")
      yield* shows(/"Ctrl-C again, or Ctrl-D, quits"/)
      yield* type("EXEC#1 1 one", "Enter")
      yield* worker.until((line) => line.startsWith("EXEC#"))
      yield* type("C-c")
      yield* shows(/"cancelling #1; Ctrl-C again quits"/)
      yield* type("EXEC#2 1 two", "Enter")
      yield* worker.until((line) => line.endsWith("two"))
      server.child.kill("SIGKILL")
      yield* shows(/"status":"lost"/)
      yield* shows(/not connected>/)
      yield* type("PING x", "Enter", "NAME hans", "Enter")
      yield* shows(/the name will be hans/)
      const others = (yield* scrolled).split("\n").filter((line) => !/^(?:rank \d+ of \d+|not connected)>/.test(line))
      const said = others.map((line) => JSON.parse(line))
      assert.includeDeepMembers(said, [
        { _tag: "Notice", message: "connection lost; trying again" },
        { _tag: "Notice", message: "not sent: not connected" }
      ])
    }).pipe(Effect.scoped)
  )
})

it.live("a prompt does not recall a line that begins with a space", () =>
  withServer(
    Effect.gen(function* () {
      const { shows, type } = yield* prompt()
      yield* type("PING public", "Enter", " PING private", "Enter")
      yield* shows(/PONG private\n/)
      yield* type("Up", "Enter")
      yield* shows(/PONG private\nrank 0 of 2> PING public\nPONG public\n/)
    })
  )
)

describe("a terminal without escapes", { concurrent: true, timeout: 90_000 }, () => {
  it.live.each(["TERM=dumb", "TERM="])("gets none from a prompt, and Ctrl-C drops the line: %s", (term) =>
    withServer(
      Effect.gen(function* () {
        const { raw, shows, type, worker } = yield* prompt(term)
        yield* type("EXEC 1 half", "C-c")
        yield* shows(/Ctrl-C again, or Ctrl-D, quits\nrank 0 of 2> *$/)
        yield* type("EXEC 1 whole", "Enter")
        yield* worker.until((line) => line === "EXEC 0 whole")
        assert.deepStrictEqual(orders(worker), [])
        yield* type("EXEC#1 1 one", "Enter")
        yield* worker.until((line) => line.startsWith("EXEC#"))
        yield* type("C-c")
        yield* worker.until((line) => line.startsWith("CANCEL#"))
        yield* shows(/cancelling #1; Ctrl-C again quits\n(?:.*\n)*RESULT#1 1 cancelled\n/)
        yield* type("nonsense", "Enter")
        yield* shows(/ERROR 0 unknown command/)
        yield* type("C-c", "C-c")
        yield* shows(/\[exit 0\]/)
        assert.notInclude(yield* raw, "\u001b")
      })
    )
  )

  it.live("ends a prompt with Ctrl-D", () =>
    withServer(
      Effect.gen(function* () {
        const { shows, type } = yield* prompt("TERM=dumb")
        yield* type("C-d")
        yield* shows(/^\[exit 0\]/m)
      })
    )
  )

  it.live.each([
    ["TERM=dumb", "watch"],
    ["TERM=dumb", "ranks"],
    ["TERM=dumb", "help connect"],
    ["env -u TERM", "ranks"],
    ["env -u TERM", "help connect"],
    ["env -u TERM", "--version"],
    ["env -u TERM", "ranks --bogus"]
  ] as const)("gets none: %s %s", ([env, args]) =>
    withServer(
      Effect.gen(function* () {
        const to = /^(?:watch|ranks$)/.test(args) ? `--port ${yield* Port}` : ""
        const { raw, shows } = yield* terminal(`${env} ${rankdCommand} ${args} ${to}`)
        yield* shows(args === "watch" ? /^MEMBER 0 m1/m : /\[exit [02]\]/)
        const late = yield* client
        if (args === "watch") yield* shows(/^JOINED 1 m2/m)
        late.send("QUIT")
        if (args === "watch") yield* shows(/^LEFT 1 m2/m)
        assert.notInclude(yield* raw, "\u001b")
      })
    )
  )
})

/** Time for a terminal to have its new size, and for the command to draw again. */
const drawn = Effect.sleep("400 millis")

describe("a terminal that changes its size", { concurrent: true, timeout: 90_000 }, () => {
  it.live("keeps what was above a table, which is redrawn in place", () =>
    withServer(
      Effect.gen(function* () {
        const { resize, scrolled, shows } = yield* terminal(
          `seq 12; ${rankdCommand} watch --name eye --port ${yield* Port}`
        )
        yield* shows(/^12\nRANK .*\n0 .*eye.*\(this command\)$/m)
        for (const [width, height] of [
          [40, 24],
          [100, 24],
          [20, 12],
          [80, 24]
        ] as const) {
          yield* resize(width, height)
          yield* drawn
          assert.match(yield* scrolled, /^1\n(?:\d+\n){10}12\nRANK .*\n0 +m1 .*$/, `${width}`)
        }
        const late = yield* client
        yield* shows(/^0 .*\(this command\)\n1 +m2 .*$/m)
        yield* resize(30, 24)
        yield* drawn
        assert.match(yield* scrolled, /^1\n(?:\d+\n){10}12\nRANK .*\n0 +m1.*\n1 +m2.*$/)
        late.send("QUIT")
        yield* shows(/^0 +m1.*$(?!\n)/m)
        assert.match(yield* scrolled, /^1\n(?:\d+\n){10}12\nRANK .*\n0 +m1.*$/)
      })
    )
  )

  it.live("leaves no copies of a line that wraps", () =>
    withServer(
      Effect.gen(function* () {
        const { resize, scrolled, shows, type } = yield* prompt()
        yield* type(`EXEC 1 ${"x".repeat(100)}end`)
        yield* shows(/end$/)
        const lines = /^RANK 0 1 \S+ m1\s+JOINED 1 m2\nrank 0 of 2> EXEC 1 (?:x+\n)+x*end$/
        for (const width of [50, 110, 35, 80]) {
          yield* resize(width, 24)
          yield* drawn
          assert.match(yield* scrolled, lines, `${width}`)
        }
        const other = yield* client
        yield* shows(/rank 0 of 3> EXEC/)
        assert.match(yield* scrolled, /JOINED 1 m2\nJOINED 2 m3\nrank 0 of 3> EXEC 1 x+\n+x+end$/)
        other.send("QUIT")
      })
    )
  )
})
