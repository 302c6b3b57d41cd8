/** The uptime of the machine, beside Node's. */
import { uptime } from "node:os"
import { assert, it } from "@effect/vitest"
import { uptimeMillis } from "../../../src/net/node/uptime.ts"

it("is the machine's, in steps of 10 ms, at every look", async () => {
  for (let look = 0; look < 3; look++) {
    assert.closeTo(uptimeMillis(), uptime() * 1000, 100)
    await new Promise((resolve) => setTimeout(resolve, 30))
  }
})
