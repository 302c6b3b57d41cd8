/**
 * `npm run succession`: random faults of `rankd lead`, its watchdog, its job, its connection and the server, all of them
 * processes. No two jobs may ever run at a time, by their own records, and somebody must lead soon. It prints for how long
 * nobody led. With `--remains` it measures the failures against which only the fencing token helps.
 */
import { parseArgs } from "node:util"
import bundle from "../test/support/program.ts"
import { Random } from "./random.ts"
import { check, main, sleep } from "./run.ts"
import { type Fault, faults, type Limit } from "./succession/faults.ts"
import { type Job, now, shown } from "./succession/records.ts"
import { remains } from "./succession/remains.ts"
import { type Candidate, type CandidateOptions, Scene } from "./succession/scene.ts"
import { Table } from "./succession/table.ts"

const { values } = parseArgs({
  options: {
    faults: { type: "string" },
    seconds: { type: "string" },
    seed: { type: "string" },
    remains: { type: "boolean", default: false }
  }
})
/** A run ends after so many faults, or so many seconds. */
const most = Number(values.faults ?? (values.seconds === undefined ? 200 : Number.POSITIVE_INFINITY))
const milliseconds = 1000 * Number(values.seconds ?? Number.POSITIVE_INFINITY)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))
if (!(most > 0 && milliseconds > 0 && Number.isInteger(seed))) {
  throw new Error("--faults, --seconds and --seed are numbers")
}

/** A run that is shorter than this many milliseconds has small heartbeats and short stalls only: more faults fit into it. */
const SHORT_RUN = 120_000
const isShort = milliseconds < SHORT_RUN

/** In seconds. */
const longest = isShort ? 2 : 30
const settle = isShort ? 2000 : 5000
const candidates: ReadonlyArray<CandidateOptions> = [
  { name: "a", heartbeat: 500, isStubborn: false },
  { name: "b", heartbeat: 500, isStubborn: true },
  { name: "c", heartbeat: isShort ? 800 : 2000, isStubborn: true }
]

/**
 * What starting a process may take besides, in milliseconds, on a machine that does other work. One fault in ten may exceed it: the
 * machine may be so busy that candidates lose their connections. None may exceed the second.
 */
const STARTED_WITHIN = 2000
const STARTED_AT_LAST = 10_000

/** The longest time without a job after `from`, in milliseconds, and the job that ended it. */
const gapAfter = (jobs: ReadonlyArray<Job>, from: number): number =>
  Math.max(
    0,
    ...jobs.slice(1).map((job, at) => {
      const since = Math.max(jobs[at]!.to, from)
      return job.from > from ? job.from - since : 0
    })
  )

class Run {
  readonly random = new Random(seed)
  readonly table = new Table(candidates.map(({ heartbeat }) => heartbeat))
  readonly scene: Scene
  count = 0
  late = 0
  #deck: Array<string> = []

  constructor(scene: Scene) {
    this.scene = scene
  }

  /** Every fault has its turn before any has a second one. */
  #draw(fits: (fault: Fault) => boolean = () => true): string {
    if (!this.#deck.some((name) => fits(faults[name]!))) this.#deck.push(...Object.keys(faults))
    const fitting = this.#deck.filter((name) => fits(faults[name]!))
    const name = this.random.pick(fitting)
    this.#deck.splice(this.#deck.indexOf(name), 1)
    return name
  }

  /** One fault, or two at once. */
  async fault(): Promise<void> {
    const { candidates, leader } = this.scene
    // An earlier fault may keep the next leader waiting.
    const leadIn = Math.max(this.scene.settledAt, leader.leadInUntil)
    const waiting = candidates.filter((candidate) => candidate !== leader)
    const start = now()
    const name = this.#draw()
    const { bound, part } = faults[name]!
    const chance = this.random.next()
    const second = chance < 0.15 ? this.#draw((other) => other.part !== part) : undefined
    const victim = second === undefined && chance < 0.25 && part !== "server" ? this.random.pick(waiting) : leader
    const names = second === undefined ? [name] : [name, second]
    const row = second !== undefined ? "two faults at once" : victim === leader ? name : "a candidate that waits"
    try {
      const [limit] = await Promise.all(names.map((name) => this.#inflict(faults[name]!, victim)))
      await this.scene.inLine()
      this.scene.records.judge()
      const { from, within } = second === undefined ? limit! : { from: start, within: Number.POSITIVE_INFINITY }
      const gap = gapAfter(this.scene.records.read(), Math.max(from, leadIn))
      if (gap > within + STARTED_WITHIN) this.late++
      check(gap < within + STARTED_AT_LAST, () => `nobody led for ${gap.toFixed(0)} ms, more than ${within} ms`)
      this.table.add(row, row === name ? bound : "-", leader.heartbeat, gap)
      const seconds = (milliseconds: number) => `${(milliseconds / 1000).toFixed(2)} s`
      const where = `${victim.name}${victim === leader ? "" : ", which waits"}`
      console.log(
        `${seconds(now() - start).padStart(8)}  ${seconds(gap)} without a leader  ${where}  ${names.join(" + ")}`
      )
    } catch (error) {
      console.log(
        `after: ${names.join(" + ")} of ${victim.name}, led by ${leader.name}, begun at ${start.toFixed(1)} ms`
      )
      for (const { name, process } of candidates) console.log(`${name}:\n${process.stderr.slice(-1000)}`)
      for (const job of this.scene.records.read().slice(-6)) console.log(shown(job))
      throw error
    }
    this.count++
  }

  #inflict(fault: Fault, victim: Candidate): Promise<Limit> {
    return fault.run(this.scene, victim, this.random.fork(), longest)
  }
}

// What it has started ends with this process.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1))

await main({ seed, milliseconds }, async () => {
  const clear = await bundle()
  process.on("exit", clear)
  if (values.remains) return remains()
  const length = values.seconds === undefined ? `--faults ${most}` : `--seconds ${values.seconds}`
  console.log(`succession: ${length} --seed ${seed}`)
  const scene = await Scene.open(candidates, settle, new Random(seed ^ 1))
  const run = new Run(scene)
  await scene.inLine()
  const deadline = now() + milliseconds
  while (run.count < most && now() < deadline) {
    await sleep(run.random.below(isShort ? 200 : 500))
    await run.fault()
  }
  scene.records.judge()
  const jobs = scene.records.read()
  console.log(`\n${run.table}\n`)
  check(run.late <= run.count / 10, () => `too late after ${run.late} of ${run.count} faults`)
  console.log(
    `${run.count} faults, ${jobs.length} jobs, ${new Set(jobs.map(({ epoch }) => epoch)).size} epochs: ` +
      "no two jobs ran or existed at a time, epochs grew, and no job outlived its lead that was killed by a second"
  )
  await scene.close()
})
