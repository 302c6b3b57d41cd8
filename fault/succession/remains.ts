/**
 * What no lease and no watchdog prevents: the former leader's work runs beside the next leader's. This measures for how long,
 * with the default heartbeat. In each case the epoch of the next leader is larger: a store that remembers the largest one refuses
 * the former leader.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parentOf } from "../../test/support/lead.ts"
import { open as openProxy } from "../../test/support/proxy.ts"
import { Random } from "../random.ts"
import { check, sleep, until } from "../run.ts"
import { serve } from "../server.ts"
import { type Job, now, Records } from "./records.ts"
import { type Candidate, Scene } from "./scene.ts"

/** In milliseconds, like all durations here. */
const HEARTBEAT = 2000
const SETTLE = 5000

/** Longer than any lease: how long a process is paused, and how long work is observed after a failure. */
const PAUSE = 8000
const OBSERVED = 15_000

const root = fileURLToPath(new URL("../..", import.meta.url))

/** Inflicts itself on the leader and its job, and ends. */
type Failure = (leader: Candidate, job: Job) => Promise<void>

const signal = (pids: ReadonlyArray<number | undefined>, name: NodeJS.Signals): void => {
  for (const pid of pids) if (pid !== undefined) process.kill(pid, name)
}

const paused = async (pids: ReadonlyArray<number | undefined>): Promise<void> => {
  signal(pids, "SIGSTOP")
  await sleep(PAUSE)
  signal(pids, "SIGCONT")
}

/** The process group of the command. A shell is between `lead` and the command. */
const groupOf = ({ pid }: Job): number => -(parentOf(pid) ?? pid)

const failures: { readonly [name: string]: { readonly wrap?: ReadonlyArray<string>; readonly run: Failure } } = {
  "the machine of `lead` is paused as a whole, for 8 s": {
    run: ({ process, watchdog }, job) => paused([process.pid, watchdog, groupOf(job)])
  },
  "`lead` and its watchdog are stopped, for 8 s": {
    run: ({ process, watchdog }) => paused([process.pid, watchdog])
  },
  "`lead` and its watchdog are killed together": {
    run: async ({ process, watchdog }) => {
      // Stopped first, so that neither sees the other's end.
      signal([process.pid, watchdog], "SIGSTOP")
      signal([process.pid, watchdog], "SIGKILL")
    }
  },
  "the job is in a process group of its own (`setsid`), and `lead` is killed": {
    wrap: ["setsid"],
    run: async ({ process }) => signal([process.pid], "SIGKILL")
  }
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`

/** Prints when, after a failure at `start`, the first work ended and the next one began. All times are of the records. */
const report = (failure: string, start: number, first: Job, records: Records): void => {
  const jobs = records.read()
  const next = jobs.find(({ from }) => from > start)
  check(next !== undefined && next.epoch > first.epoch, () => `${failure}: nobody led under a larger epoch`)
  const stopped = first.to > now() - 1000 ? `works on (seen for ${seconds(OBSERVED)})` : seconds(first.to - start)
  console.log(`| ${failure} | ${stopped} | ${seconds(next!.from - start)} |`)
}

const ofLead = async (name: string): Promise<void> => {
  const { run, wrap } = failures[name]!
  const options = ["a", "b"].map((name) => ({ name, heartbeat: HEARTBEAT, isStubborn: true, wrap }))
  const scene = await Scene.open(options, SETTLE, new Random(1))
  await scene.inLine()
  const { leader } = scene
  const job = scene.records.read().at(-1)!
  const start = now()
  await run(leader, job)
  await sleep(start + OBSERVED - now())
  report(name, start, job, scene.records)
  await scene.close()
}

/** They end no later than this process. */
const workers = new Set<ChildProcess>()
process.on("exit", () => {
  for (const worker of workers) worker.kill("SIGKILL")
})

/** Two processes of `worker.ts`, the first behind a proxy. */
const ofLibrary = async (
  name: string,
  how: ReadonlyArray<string>,
  run: (first: ChildProcess, cut: () => void) => Promise<void>
): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), "rankd-succession-"))
  const server = await serve(["--settle", `${SETTLE / 1000}`])
  const proxy = await openProxy(server.port)
  const files = new Map(["a", "b"].map((name) => [name, join(folder, name)]))
  const records = new Records(files)
  const worker = (name: string, port: number) => {
    const args = [`${port}`, name, `${HEARTBEAT}`, files.get(name)!, ...how]
    const child = spawn(process.execPath, ["--import", "tsx", "fault/succession/worker.ts", ...args], {
      cwd: root,
      stdio: ["ignore", "pipe", "inherit"]
    })
    workers.add(child)
    return child
  }
  const first = worker("a", proxy.port)
  await until("the first works", () => records.read().length > 0)
  const second = worker("b", server.port)
  await once(second.stdout, "data")
  const job = records.read()[0]!
  const start = now()
  await run(first, () => proxy.held.add("up").add("down"))
  await sleep(start + OBSERVED - now())
  report(name, start, job, records)
  for (const child of [first, second]) child.kill("SIGKILL")
  proxy.close()
  await server.end()
  rmSync(folder, { recursive: true })
}

export const remains = async (): Promise<void> => {
  console.log("succession --remains: heartbeat 2 s, from the failure on\n")
  console.log("| failure | the former leader's work ends after | the next one's begins after |\n| --- | --- | --- |")
  for (const name of Object.keys(failures)) await ofLead(name)
  const cut = async (_: ChildProcess, cut: () => void) => cut()
  await ofLibrary("`whileLeader`: the connection stalls", [], cut)
  await ofLibrary("`whileLeader`: the connection stalls, and the work cannot be interrupted", ["uninterruptible"], cut)
  await ofLibrary('the same, with `onLate: "exit"`', ["uninterruptible", "exit"], cut)
  await ofLibrary("`whileLeader`: its process is paused, for 8 s", [], ({ pid }) => paused([pid]))
}
