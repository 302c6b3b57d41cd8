/** Whether docs/reliability.md names tests that there are. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), "utf8")

it("every test that holds a promise is there", () => {
  const rows = [...read("docs/reliability.md").matchAll(/^\| [^|]+ \| `([^`]+)` \| (.+) \|$/gm)]
  assert.isAbove(rows.length, 30)
  for (const [, file, name] of rows) assert.include(read(file!), name!, file)
})
