/** The pages of the documentation, and the parts of them that tests look at. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert } from "@effect/vitest"

const root = fileURLToPath(new URL("../..", import.meta.url))

export const read = (path: string): string => readFileSync(`${root}/${path}`, "utf8")

/** The first code block after `marker`, without its fences. */
export const block = (page: string, marker: string): string => {
  const start = page.indexOf(marker)
  assert.isAtLeast(start, 0, marker)
  const code = /```\w*\n([\s\S]*?)```/.exec(page.slice(start))?.[1]
  assert.isDefined(code, marker)
  return code
}

/** The names in the page's markers `<!-- test/docs.test.ts runs this: name -->`. */
export const marked = (page: string, test: string): ReadonlyArray<string> =>
  Array.from(page.matchAll(new RegExp(`<!-- ${test} runs this: (\\w+) -->`, "g")), ([, name]) => name!)

/** The section under `heading`, up to the next heading of the same level or a higher one. */
export const section = (page: string, heading: string): string => {
  const start = page.indexOf(`${heading}\n`)
  assert.isAtLeast(start, 0, heading)
  const rest = page.slice(start + heading.length)
  const level = /^#+/.exec(heading)?.[0].length
  const end = rest.search(new RegExp(`^#{1,${level}} `, "m"))
  return end < 0 ? rest : rest.slice(0, end)
}
