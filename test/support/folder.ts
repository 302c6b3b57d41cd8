/** A folder of a test's own. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"

/** The path of a new folder; it is removed with what is in it when the scope closes. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-test-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)
