/** Shared by the programs of this folder: options, waiting, and exit status. */
import { parseArgs } from "node:util"

export interface Options {
  readonly seed: number
  /** The length of the run, in milliseconds. */
  readonly milliseconds: number
}

/** `--seconds N`, `--minutes N` and `--seed N`. It prints the seed, so that the run can be repeated. */
export const optionsOf = (name: string, seconds: number): Options => {
  const { values } = parseArgs({
    options: { seconds: { type: "string" }, minutes: { type: "string" }, seed: { type: "string" } }
  })
  const wanted = values.minutes === undefined ? Number(values.seconds ?? seconds) : Number(values.minutes) * 60
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32))
  if (!(wanted > 0) || !Number.isInteger(seed)) throw new Error("--seconds, --minutes and --seed are numbers")
  console.log(`${name}: --seconds ${wanted} --seed ${seed}`)
  return { seed, milliseconds: wanted * 1000 }
}

/** An invariant does not hold. */
export class Violation extends Error {
  override readonly name = "Violation"
}

export const check = (holds: boolean, otherwise: () => string): void => {
  if (!holds) throw new Violation(otherwise())
}

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Waits until the condition holds; a violation if it does not hold in time. */
export const until = async (what: string, holds: () => boolean | string, within = 20_000): Promise<void> => {
  const deadline = performance.now() + within
  for (let so = holds(); so !== true; so = holds()) {
    check(performance.now() < deadline, () => `not within ${within} ms: ${what}${so === false ? "" : `: ${so}`}`)
    await sleep(10)
  }
}

/** Runs the program to its end. After a violation it prints the reason and exits with status 1. */
export const main = async (options: Options, program: () => Promise<void>): Promise<never> => {
  let status = 0
  const fail = (error: unknown) => {
    console.log(
      `FAILED (--seed ${options.seed}): ${error instanceof Violation ? error.message : (error as Error).stack}`
    )
    status = 1
  }
  // An uncaught error is a fault of the harness, or of the client library that it runs.
  process.on("unhandledRejection", (error) => {
    fail(error)
    process.exit(1)
  })
  await program().catch(fail)
  process.exit(status)
}
