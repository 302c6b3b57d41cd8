/**
 * A test of the simulation: without any one clause of the rule it finds a violation within a minute of seeds. Each
 * mutant is a copy of the project in which one piece of text is another.
 */
import { spawn } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"

const root = fileURLToPath(new URL("../..", import.meta.url))
const SECONDS = 60

const mutants = [
  ["the lease ends after two heartbeats", "lease/Lease.ts", "GOOD_FOR = 2", "GOOD_FOR = 4"],
  ["the lease counts from the ping, not from the answer", "lease/Lease.ts", "= ping.at", "= this.#stopwatch.now()"],
  ["a suspend counts", "lease/Stopwatch.ts", "now.uptime - uptime", "0"],
  [
    "the client looks at its lease in between",
    "Leader.ts",
    "Effect.sleep(Math.min(TICK, Math.ceil(left)))",
    "Effect.never"
  ],
  ["the interruption begins early enough", "Leader.ts", "term.left - stopWithin", "term.left"],
  ["another rank ends the term", "lease/Terms.ts", "rank !== 0 || this.#yielding", "this.#yielding"],
  ["the lead-in is waited for", "lease/Terms.ts", "leadIn === 0", "leadIn >= 0"],
  ["the work has ended when the client steps down", "Leader.ts", "work.interruptUnsafe()", ""],
  [
    "the server knows of the lease",
    "Reconnect.ts",
    "this.#lease ? { lease: true as const }",
    "false ? { lease: true as const }"
  ]
] as const

const simulated = (folder: string) =>
  Effect.callback<{ readonly code: number | null; readonly last: string }>((resume) => {
    const args = ["--import", "tsx", "test/succession/run.ts", "--seed", "1", "--seconds", `${SECONDS}`]
    const child = spawn(process.execPath, args, { cwd: folder, stdio: ["ignore", "pipe", "inherit"] })
    let output = ""
    child.stdout.setEncoding("utf8").on("data", (text) => (output = (output + text).slice(-1000)))
    child.on("close", (code) => resume(Effect.succeed({ code, last: output.trimEnd().split("\n").at(-1) ?? "" })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

describe("the simulation fails unless", { concurrent: true, timeout: 300_000 }, () => {
  it.live.each(mutants)("%s", ([, file, before, after]) =>
    Effect.gen(function* () {
      const folder = yield* Effect.acquireRelease(
        Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-mutant-"))),
        (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
      )
      for (const part of ["src", "test", "fault", "package.json", "tsconfig.json"]) {
        cpSync(join(root, part), join(folder, part), { recursive: true })
      }
      symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
      const path = join(folder, "src/client", file)
      const [head, tail, ...more] = readFileSync(path, "utf8").split(before)
      assert.isDefined(tail, `${file} no longer has: ${before}`)
      assert.lengthOf(more, 0)
      writeFileSync(path, `${head}${after}${tail}`)
      const { code, last } = yield* simulated(folder)
      assert.strictEqual(code, 1, last)
    }).pipe(Effect.scoped)
  )
})
