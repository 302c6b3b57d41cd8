/** The examples, run as a user runs them. */
import { spawnSync } from "node:child_process"
import { createServer } from "node:net"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Schedule } from "effect"
import { folder } from "./support/folder.ts"
import { says, shell } from "./support/process.ts"
import { client, connect, Port, serverLayer } from "./support/wire.ts"

const node = `${process.execPath} --import tsx`

/** A port that nothing listens on. */
const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address() as { readonly port: number }
    server.close(() => resume(Effect.succeed(port)))
  })
})

describe("examples", { concurrent: true }, () => {
  it.live("worker.py answers what it is asked to do", () =>
    Effect.gen(function* () {
      const first = yield* client
      const worker = yield* shell(`exec python3 examples/worker.py 127.0.0.1 ${yield* Port}`)
      yield* says(worker.stdout, /^rank 1$/m)
      first.send("EXEC @worker tidy up", "EXEC#a 1 count")
      yield* first.until((line) => line === "RESULT#a 1 0 did count")
      yield* says(worker.stdout, /rank 0 wants: tidy up\nrank 0 wants: count\n/)
    }).pipe(Effect.scoped, Effect.provide(serverLayer()))
  )

  it.live("cron.ts does the job on one of three, and on the next when that one is killed", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const runs = yield* Effect.forEach(["a", "b", "c"], (name) =>
        shell(`exec ${node} examples/cron.ts 127.0.0.1 ${port} ${name}`)
      )
      const done = /does the job, token ([0-9]+)/
      const working = () => runs.filter((run) => done.test(run.stdout()))
      while (working().length === 0) yield* Effect.sleep("10 millis")
      const [leader] = working()
      yield* says(leader!.stdout, /does the job[\s\S]*does the job/)
      assert.strictEqual(working().length, 1)
      leader!.child.kill("SIGKILL")
      while (working().length < 2) yield* Effect.sleep("10 millis")
      const tokens = working().map((run) => Number(done.exec(run.stdout())![1]))
      assert.strictEqual(new Set(tokens).size, 2)
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ settle: Duration.zero })))
  )

  it.live("fencing.ts refuses a leader when a later one has written, and the next leader counts on", () =>
    Effect.gen(function* () {
      const port = yield* Port
      const file = join(yield* folder, "counter.sqlite")
      const runs = yield* Effect.forEach(["a", "b"], (name) =>
        shell(`exec ${node} examples/fencing.ts 127.0.0.1 ${port} ${name} ${file}`)
      )
      const output = () => runs.map(({ stdout }) => stdout()).join("")
      yield* says(output, /counts to 1 with token/)
      const [, name, token] = /^(.) counts to 1 with token (\d+)$/m.exec(output()) ?? []
      const store = new DatabaseSync(file, { timeout: 1000 })
      store.exec("UPDATE counter SET token = token + 1, count = 1000")
      store.close()
      yield* says(output, new RegExp(`^${name} is refused with token ${token}$`, "m"))
      yield* says(output, /counts to 1001 with token/)
      const [, later] = /counts to 1001 with token (\d+)$/m.exec(output()) ?? []
      assert.isAbove(Number(later), Number(token) + 1)
    }).pipe(Effect.scoped, Effect.provide(serverLayer({ settle: Duration.zero })))
  )

  it.live("embedded.ts ranks clients, and lists them over HTTP", () =>
    Effect.gen(function* () {
      const [ranks, web] = [yield* freePort, yield* freePort]
      yield* shell(`exec ${node} examples/embedded.ts ${ranks} ${web}`)
      const get = Effect.tryPromise(() => fetch(`http://127.0.0.1:${web}/members`)).pipe(
        Effect.flatMap((response) => Effect.tryPromise(() => response.json()))
      )
      const members = yield* Effect.retry(get, Schedule.spaced("50 millis"))
      assert.strictEqual(JSON.stringify(members).includes('"name":"app"'), true)
      const wire = yield* connect({ host: "127.0.0.1", port: ranks })
      yield* wire.until((line) => line.startsWith("RANK 1 2 "))
      // The app is told of it in its own time.
      const listed = Effect.map(get, (members) =>
        (members as ReadonlyArray<{ member: string }>).map((one) => one.member)
      )
      const both = Effect.map(listed, (members) => assert.deepStrictEqual(members, ["m1", "m2"]))
      yield* Effect.retry(Effect.catchDefect(both, Effect.fail), Schedule.spaced("50 millis"))
    }).pipe(Effect.scoped)
  )
})

it("systemd accepts the unit of lead", () => {
  const unit = fileURLToPath(new URL("../examples/rankd-lead.service", import.meta.url))
  const { status, stderr } = spawnSync("systemd-analyze", ["verify", unit], { encoding: "utf8" })
  assert.deepStrictEqual([status, stderr], [0, ""])
})
