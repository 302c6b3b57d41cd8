/**
 * What the jobs of `rankd lead` recorded about themselves (`test/support/life.py`), and the judge of it.
 *
 * A job counts as running from its first record to its last: it writes one every 10 milliseconds, and one more when it gets
 * SIGTERM. All times are of the machine's monotonic clock, so a job that the system delays only counts as running for longer
 * or shorter than it exists, and never at another time. A job that is stopped counts from before to after the stop. The lock adds
 * what records cannot tell: a job says `beside` if, at its own first record, the process of another job still exists.
 */
import { closeSync, existsSync, openSync, readSync } from "node:fs"
import { check } from "../run.ts"

export interface Job {
  /** The candidate that runs it. */
  readonly candidate: string
  readonly pid: number
  readonly epoch: number
  /** Times of the first and last record, in milliseconds. */
  readonly from: number
  to: number
  /** Whether the process of another job existed when this one began. */
  readonly beside: boolean
}

/** The clock of the records, in milliseconds. */
export const now = (): number => Number(process.hrtime.bigint()) / 1e6

/** A file that grows by lines, read from where the last read ended. */
class Tail {
  readonly #path: string
  #offset = 0
  #rest = ""

  constructor(path: string) {
    this.#path = path
  }

  lines(): ReadonlyArray<string> {
    if (!existsSync(this.#path)) return []
    const file = openSync(this.#path, "r")
    const bytes = Buffer.allocUnsafe(65_536)
    let text = this.#rest
    for (let length = 0; ; this.#offset += length) {
      length = readSync(file, bytes, 0, bytes.length, this.#offset)
      if (length === 0) break
      text += bytes.toString("latin1", 0, length)
    }
    closeSync(file)
    const lines = text.split("\n")
    this.#rest = lines.pop() ?? ""
    return lines
  }
}

export class Records {
  readonly #tails: ReadonlyMap<string, Tail>
  readonly #jobs = new Map<string, Job>()

  /** @param files the file of each candidate */
  constructor(files: ReadonlyMap<string, string>) {
    this.#tails = new Map([...files].map(([candidate, path]) => [candidate, new Tail(path)]))
  }

  /** All jobs so far, in the order in which they began. */
  read(): ReadonlyArray<Job> {
    for (const [candidate, tail] of this.#tails) {
      for (const line of tail.lines()) {
        const [pid, seconds, epoch, lock] = line.split(" ")
        const key = `${candidate} ${pid} ${epoch}`
        const at = Number(seconds) * 1000
        const job = this.#jobs.get(key)
        if (job !== undefined) job.to = at
        else {
          const names = { candidate, pid: Number(pid), epoch: Number(epoch) }
          this.#jobs.set(key, { ...names, from: at, to: at, beside: lock === "beside" })
        }
      }
    }
    return [...this.#jobs.values()].sort((one, other) => one.from - other.from)
  }

  /** No two jobs ran at a time, and a later leader has a larger epoch. */
  judge(): void {
    const jobs = this.read()
    for (const [at, job] of jobs.entries()) {
      const before = jobs[at - 1]
      if (before === undefined) continue
      const both = () => `${shown(before)}, and ${shown(job)}`
      check(job.from > Math.max(...jobs.slice(0, at).map(({ to }) => to)), () => `two jobs ran at a time: ${both()}`)
      check(!job.beside, () => `two jobs existed at a time: ${both()}`)
      const isLarger = job.candidate === before.candidate ? job.epoch >= before.epoch : job.epoch > before.epoch
      check(isLarger, () => `epochs do not grow: ${both()}`)
    }
  }
}

/** A job, for people. */
export const shown = ({ candidate, epoch, from, pid, to }: Job): string =>
  `${candidate} (process ${pid}, epoch ${epoch}) from ${from.toFixed(1)} to ${to.toFixed(1)} ms`
