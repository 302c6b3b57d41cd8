/**
 * Simulates one seed after the other, until the time is over or the rule is broken.
 *
 *     node test/succession/run.ts [--seed N] [--seconds N]
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { simulate } from "./simulation.ts"

const { values } = parseArgs({ options: { seed: { type: "string" }, seconds: { type: "string" } } })
const first = Number(values.seed ?? Math.floor(Math.random() * 1_000_000))
const end = performance.now() + 1000 * Number(values.seconds ?? (values.seed === undefined ? 60 : 0))

let seed = first
do {
  const violation = await Effect.runPromise(simulate(seed))
  if (violation !== undefined) {
    for (const line of violation.log) console.log(line)
    console.log(`${violation.what}: --seed ${seed}`)
    process.exit(1)
  }
  seed++
} while (performance.now() < end)
console.log(`${seed - first} runs kept the rule, from --seed ${first}`)
process.exit(0)
