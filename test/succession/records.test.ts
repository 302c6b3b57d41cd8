/** Whether the judge of `npm run succession` notices what it is there for. */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Records } from "../../fault/succession/records.ts"
import { folder } from "../support/folder.ts"

/** What the jobs of two candidates recorded: a process id, a time in seconds, the epoch and what the lock showed. */
const verdict = (a: ReadonlyArray<string>, b: ReadonlyArray<string>) =>
  Effect.map(folder, (path) => {
    const files = new Map([a, b].map((lines, at) => [`${at}`, { path: join(path, `${at}`), lines }]))
    for (const { path, lines } of files.values()) writeFileSync(path, lines.map((line) => `${line}\n`).join(""))
    const records = new Records(new Map([...files].map(([candidate, { path }]) => [candidate, path])))
    try {
      records.judge()
      return "passes"
    } catch (error) {
      return `${error}`
    }
  })

describe("the records of jobs", () => {
  it.effect.each<[string, RegExp, ReadonlyArray<string>, ReadonlyArray<string>]>([
    ["one after the other", /passes/, ["1 1.00 5 alone", "1 1.50 5 alone"], ["2 1.51 6 alone", "2 2.00 6 alone"]],
    ["one candidate twice in a term", /passes/, ["1 1.00 5 alone", "3 1.50 5 alone"], []],
    ["two at a time", /ran at a time/, ["1 1.00 5 alone", "1 1.50 5 alone"], ["2 1.49 6 alone"]],
    ["one around another", /ran at a time/, ["1 1.00 5 alone", "1 9.00 5 alone"], ["2 3.00 6 alone", "2 4.00 6 alone"]],
    ["one while a stopped one exists", /existed at a time/, ["1 1.00 5 alone"], ["2 3.00 6 beside"]],
    ["a later leader with the same epoch", /epochs do not grow/, ["1 1.00 5 alone"], ["2 3.00 5 alone"]],
    ["a smaller epoch", /epochs do not grow/, ["1 1.00 5 alone", "3 3.00 4 alone"], []]
  ])("are judged: %s", ([, expected, a, b]) => Effect.map(verdict(a, b), (said) => assert.match(said, expected)))
})
