/** `npm run chaos`: random faults, one after the other; after each, every invariant must hold. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { wallClockIn } from "../test/support/wallClock.ts"
import { faults } from "./faults.ts"
import { Random } from "./random.ts"
import { main, optionsOf, sleep } from "./run.ts"
import { Terminal } from "./terminal.ts"
import { World } from "./world.ts"

const options = optionsOf("chaos", 30)

await main(options, async () => {
  const random = new Random(options.seed)
  const folder = mkdtempSync(join(tmpdir(), "rankd-chaos-"))
  const terminal = await Terminal.open()
  const world = await World.open(random.fork(), undefined, { clock: wallClockIn(folder), terminal })
  await world.settle()
  const deadline = performance.now() + options.milliseconds
  let deck: Array<string> = []
  let count = 0
  while (performance.now() < deadline) {
    // Every fault has its turn before any has a second one.
    if (deck.length === 0) deck = Object.keys(faults)
    const [name] = deck.splice(random.below(deck.length), 1) as [string]
    const start = performance.now()
    await sleep(random.below(500))
    try {
      await faults[name]!(world, random)
      await world.settle()
    } catch (error) {
      console.log(`after: ${name}`)
      throw error
    }
    count++
    console.log(`${((performance.now() - start) / 1000).toFixed(1).padStart(5)} s  ${name}`)
  }
  const { connections, summary } = world.oracle
  console.log(`${count} faults, ${connections} connections; tracked commands ended: ${summary}`)
  console.log("after each: ranks dense, one rank 0 an epoch, nothing from below, one end a command, no descriptor left")
  await world.close()
  terminal.close()
  rmSync(folder, { recursive: true })
})
