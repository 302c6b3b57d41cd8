/** Searches for a violation of the rule without a clause, for `mutants.test.ts`: gets the index of the mutant, answers. */
import { mutants, simulationOf } from "./mutants.ts"
import { search } from "./search.ts"

/** Of work, for each mutant. */
const SECONDS = 60

export interface Answer {
  /** Why the mutant was not found; undefined if it was. */
  readonly failure: string | undefined
}

const hunt = async (index: number): Promise<string | undefined> => {
  const mutant = mutants[index]
  if (mutant === undefined) return "no such mutant"
  const { simulate } = await simulationOf(mutant)
  const { runs, violation } = await search(simulate, mutant.seed, SECONDS)
  return violation === undefined ? `${runs} runs from seed ${mutant.seed} kept the rule without it` : undefined
}

process.on("message", (index: number) => {
  hunt(index).then(
    (failure) => process.send?.({ failure } satisfies Answer),
    (error) => process.send?.({ failure: `${error}` } satisfies Answer)
  )
})
