/**
 * Simulates one seed after the other, until the time is over or the rule is broken. With `--mutant`, the rule is
 * without the clause that has this text.
 *
 *     node test/succession/run.ts [--seed N] [--seconds N] [--mutant TEXT]
 */
import { parseArgs } from "node:util"
import { mutants, simulationOf } from "./mutants.ts"
import { search } from "./search.ts"
import * as simulation from "./simulation.ts"

const { values } = parseArgs({
  options: { seed: { type: "string" }, seconds: { type: "string" }, mutant: { type: "string" } }
})
const { mutant: text } = values
const mutant = text === undefined ? undefined : mutants.find(({ clause }) => clause.includes(text))
if (text !== undefined && mutant === undefined) throw new Error(`no clause has this text: ${text}`)
const { simulate } = mutant === undefined ? simulation : await simulationOf(mutant)
const first = Number(values.seed ?? Math.floor(Math.random() * 1_000_000))
const { runs, violation } = await search(
  simulate,
  first,
  Number(values.seconds ?? (values.seed === undefined ? 60 : 0))
)
if (violation !== undefined) {
  for (const line of violation.log) console.log(line)
  console.log(`${violation.what}: --seed ${violation.seed}`)
  process.exit(1)
}
console.log(`${runs} runs kept the rule, from --seed ${first}`)
process.exit(0)
