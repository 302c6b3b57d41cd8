/** What people see and type, in a terminal. */
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankd, rankdCommand, says } from "../support/process.ts"
import { terminal } from "../support/tmux.ts"
import { client, Port, serverLayer, type WireClient } from "../support/wire.ts"

const withServer = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  test.pipe(Effect.scoped, Effect.provide(serverLayer())) as Effect.Effect<A, E>

/** A command of rankd in a terminal, connected to the server of the test. */
const inTerminal = Effect.fnUntraced(function* (args: string, env = "RANKD_HISTORY=") {
  const port = yield* Port
  return yield* terminal(`${env} ${rankdCommand} ${args} --port ${port}`)
})

/** The id of the next tracked command that a client receives. */
const ordered = (client: WireClient) =>
  Effect.map(
    client.until((line) => line.startsWith("EXEC#")),
    (lines) => /^EXEC#(\d+)/.exec(lines.at(-1)!)![1]
  )

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-terminal-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true }))
)

describe("in a terminal", { concurrent: true, timeout: 90_000 }, () => {
  it.live("a prompt shows the rank, completes words, and prints messages above the typed line", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* client
        yield* first.until((line) => line.startsWith("RANK"))
        const { shows, type } = yield* inTerminal("connect --name boss")
        yield* shows(/^rank 1 of 2>$/m)
        /** Types a word, and completes it once it is on the screen: readline takes one piece of input for pasted text. */
        const completed = Effect.fnUntraced(function* (word: string, there: RegExp) {
          yield* type(word)
          yield* shows(there)
          yield* type("Tab")
        })
        const worker = yield* client
        worker.send("NAME worker")
        yield* shows(/JOINED 2 m3\nNAMED 2 m3 worker\nrank 1 of 3>$/)
        // Completed twice: the verb, and the name.
        yield* completed("exe", /> exe$/)
        yield* shows(/> EXEC$/)
        yield* completed("@wo", /EXEC @wo$/)
        yield* shows(/EXEC @worker$/)
        yield* type("up")
        yield* shows(/^rank 1 of 3> EXEC @worker up$/m)
        // The typed line stays below a message that arrives meanwhile.
        first.send("QUIT")
        yield* shows(/LEFT 0 m1 quit\n(?:.*\n)*rank 0 of 2> EXEC @worker up$/)
        yield* type("time", "Enter")
        assert.include(yield* worker.until((line) => line.startsWith("EXEC")), "EXEC 0 uptime")
        yield* type("EXEC#1 * seq", "Enter")
        const id = yield* ordered(worker)
        worker.send(`OUTPUT#${id} so far`, `RESULT#${id} 3 one\\ntwo\\n`)
        yield* shows(/OUTPUT#1 1 so far\nRESULT#1 1 3\n {2}one\n {2}two\nDONE#1 0 1\nrank 0 of 2>$/)
        yield* type("EXEC 0 x", "Enter", "nonsense", "Enter")
        yield* shows(/ERROR 0 rank too high\n(?:.*\n)*ERROR 0 unknown command: try HELP\nrank 0 of 2>$/)
        // A completed verb has a space behind it.
        yield* completed("EXPL", /> EXPL$/)
        yield* shows(/> EXPLAIN$/)
        yield* completed("@wor", /EXPLAIN @wor$/)
        yield* shows(/EXPLAIN @worker$/)
        yield* type("Enter")
        yield* shows(/TARGETS 1 1:m3/)
        // Ctrl-C clears the line; twice it leaves.
        yield* type("half", "C-c", "PING all", "Enter")
        yield* shows(/PONG all/)
        yield* type("C-c", "C-c")
        yield* shows(/\[exit 0\]/)
      })
    )
  )

  it.live("a prompt keeps the typed lines, in a file that only its owner can read", () =>
    withServer(
      Effect.gen(function* () {
        const file = join(yield* folder, "history")
        const one = yield* inTerminal("connect", `RANKD_HISTORY=${file}`)
        yield* one.shows(/rank 0 of 1>/)
        yield* one.type("PING remember", "Enter")
        yield* one.shows(/PONG remember/)
        // It keeps no line that begins with a space.
        yield* one.type(" PING secret", "Enter")
        yield* one.shows(/PONG secret/)
        // A line with a token is not kept.
        yield* one.type("AUTH some-secret-token", "Enter")
        yield* one.shows(/this server asks for no token/)
        yield* one.type("QUIT", "Enter")
        yield* one.shows(/BYE quit\n(?:.*\n)*\[exit 0\]/)
        assert.strictEqual(readFileSync(file, "utf8"), "PING remember\nQUIT\n")
        assert.strictEqual(statSync(file).mode & 0o777, 0o600)
        const two = yield* inTerminal("connect", `RANKD_HISTORY=${file}`)
        yield* two.shows(/rank 0 of 1>/)
        yield* two.type("Up", "Up", "Enter")
        yield* two.shows(/PONG remember/)
        yield* two.type("C-d")
        assert.notInclude(yield* two.shows(/\[exit 0\]/), "connection lost")
      })
    )
  )

  it.live("the server shows how to try it", () =>
    Effect.gen(function* () {
      const { shows, type } = yield* terminal(`${rankdCommand} --port 0`)
      const screen = yield* shows(/in two terminals, then type HELP\. Stop with Ctrl-C$/)
      assert.match(screen, /^rankd listening on 127\.0\.0\.1:(\d+)\nTry it: nc 127\.0\.0\.1 \1 in two/)
      yield* type("C-c")
      yield* shows(/\[exit 0\]/)
      const quiet = yield* terminal(`${rankdCommand} --port 0 2>/dev/null`)
      assert.match(yield* quiet.shows(/listening/), /^rankd listening on \S+$/)
    }).pipe(Effect.scoped)
  )

  it.live("nothing that another client sends has an effect on the terminal", () =>
    withServer(
      Effect.gen(function* () {
        const { colours, shows, type } = yield* inTerminal("connect")
        yield* shows(/rank 0 of 1>/)
        const evil = yield* client
        yield* shows(/rank 0 of 2>/)
        yield* type("EXEC#1 1 x", "Enter")
        const id = yield* ordered(evil)
        evil.send(`OUTPUT#${id} \\x1b[2J\\x1b]0;title\\x07\\x9b31mred\u202egnp.exe\\rover`)
        evil.send(`RESULT#${id} 0 done\\x08\\x08`)
        const screen = yield* shows(/RESULT#1 1 0 done$/m)
        assert.include(screen, "OUTPUT#1 1 [2J]0;title31mredgnp.exeover")
        assert.notMatch(yield* colours, /[\u0080-\u009f\u202e]/)
      })
    )
  )

  it.live("a person and an agent connect again after the server was killed", () =>
    Effect.gen(function* () {
      const first = yield* rankd(["--port", "0"])
      yield* says(first.stdout, /listening/)
      const port = /:(\d+)\n/.exec(first.stdout())![1]!
      const run = (args: string, env = "") => terminal(`${env} ${rankdCommand} ${args} --port ${port}`)
      const person = yield* run("connect --name boss", "RANKD_HISTORY=")
      yield* person.shows(/rank 0 of 1>/)
      const agent = yield* run("agent --name worker --allow 'echo *' --allow 'sleep *'")
      yield* agent.shows(/rankd: rank 1 of 2 in group default/)
      yield* person.shows(/NAMED 1 m2 worker\nrank 0 of 2>/)
      yield* person.type("EXEC#1 @worker echo hello", "Enter")
      yield* person.shows(/RESULT#1 1 0 hello\nrank 0 of 2>$/)
      yield* person.type("EXEC#2 @worker rm -rf x", "Enter")
      yield* person.shows(/RESULT#2 1 denied\nrank 0 of 2>$/)
      yield* agent.shows(/executed: echo hello \(0\)\ndenied: rm -rf x$/)
      yield* person.type("EXEC#3 @worker sleep 1000", "Enter")
      yield* person.type("CANCEL#3", "Enter")
      yield* person.shows(/RESULT#3 1 cancelled/)
      yield* agent.shows(/cancelled: sleep 1000$/)
      yield* person.type("EXEC#4 @worker sleep 1000", "Enter")
      yield* person.type("EXEC#5 @worker echo there", "Enter")
      yield* person.shows(/RESULT#5 1 0 there/)
      first.child.kill("SIGKILL")
      yield* person.shows(/RESULT#4 - lost\nconnection lost; trying again\nnot connected>$/)
      yield* agent.shows(/rankd: connection lost; trying again$/)
      yield* person.type("PING", "Enter")
      yield* person.shows(/not sent: not connected/)
      const second = yield* rankd(["--port", port])
      yield* says(second.stdout, /listening/)
      yield* person.shows(/rank \d of 2>$/)
      yield* agent.shows(/trying again\nrankd: rank \d of \d in group default, as m\d$/)
      // The first client to come back has rank 0. If that is the agent, it starts again.
      if (/rank 1 of 2>$/.test(yield* person.shows(/rank \d of 2>$/))) {
        yield* agent.type("C-c")
        yield* person.shows(/rank 0 of 1>$/)
        yield* run("agent --name worker --allow 'echo *'")
        yield* person.shows(/rank 0 of 2>$/)
      }
      yield* person.type("EXEC#6 @worker echo again", "Enter")
      yield* person.shows(/RESULT#6 1 0 again\nrank 0 of 2>$/)
    }).pipe(Effect.scoped)
  )

  it.live("a table of the members is redrawn in place", () =>
    withServer(
      Effect.gen(function* () {
        const first = yield* client
        first.send("NAME boss")
        yield* first.until((line) => line.startsWith("NAMED"))
        const { colours, shows } = yield* inTerminal("watch --name eye")
        const rows = (screen: string) => screen.split("\n").map((row) => row.replace(/127.0.0.1:\d+/, "HERE").trimEnd())
        assert.deepStrictEqual(rows(yield* shows(/eye/)), [
          "RANK  MEMBER  NAME  ADDRESS",
          "0     m1      boss  HERE",
          "1     m2      eye   HERE (this command)"
        ])
        assert.include(yield* colours, "\u001b[1mRANK")
        const late = yield* client
        yield* shows(new RegExp(`^2 +m3 +- +${late.address}$`, "m"))
        late.send('{"_tag":"Hello","protocol":1,"heartbeat":2000,"lease":true}')
        yield* late.until((line) => line.includes("Welcome"))
        // The list is requested again when a member joins.
        const other = yield* client
        assert.deepStrictEqual(rows(yield* shows(/^m1 \(boss\) has rank 0/)).slice(0, 4), [
          "m1 (boss) has rank 0 and no lease: nobody leads until it leaves or steps down",
          "RANK  MEMBER  NAME  LEASE  ADDRESS",
          "0     m1      boss  -      HERE",
          "1     m2      eye   -      HERE (this command)"
        ])
        yield* shows(/^2 +m3 +- +lease /m)
        other.socket.destroy()
        late.send('{"_tag":"Quit"}')
        const crowd = yield* Effect.forEach(Array.from({ length: 30 }), () => client)
        // More than fit on the screen.
        assert.match(yield* shows(/and 11 more/), /^RANK(?:.*\n){22}\.\.\. and 11 more$/)
        for (const { socket } of crowd) socket.destroy()
        first.send("QUIT")
        assert.deepStrictEqual(rows(yield* shows(/^0 +m2/m)), [
          "RANK  MEMBER  NAME  ADDRESS",
          "0     m2      eye   HERE (this command)"
        ])
      })
    )
  )

  it.live("a table of the members has no colours with NO_COLOR", () =>
    withServer(
      Effect.gen(function* () {
        const { colours, shows } = yield* inTerminal("ranks", "NO_COLOR=1")
        yield* shows(/this command\)\n\[exit 0\]/)
        assert.notInclude(yield* colours, "\u001b")
      })
    )
  )
})
