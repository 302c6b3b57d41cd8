/**
 * `npm run soak`: clients that come and go, commands and mild faults for any length of
 * time, while it samples the server's memory and descriptors every second. The warm-up
 * does not count.
 */
import { mild } from "./faults.ts"
import { Witness } from "./oracle.ts"
import { Random } from "./random.ts"
import { check, main, optionsOf, sleep } from "./run.ts"
import { Wire } from "./wire.ts"
import { World } from "./world.ts"

const MEBIBYTE = 1024 * 1024

/** The line through the samples may rise by so much in total, however long the run is. */
const MAX_GROWTH = 48 * MEBIBYTE

/** At rest the number of descriptors is constant, except for one that is just being closed. */
const MAX_SPREAD = 3

/** By then the heap has seen everything, and has the size that it needs. */
const WARM_UP = 60_000

/** Between one passing client and the next. */
const PASSING_EVERY = 40

const options = optionsOf("soak", 3600)

/** The slope of the line through the samples, by least squares, in their unit per sample. */
const slopeOf = (samples: ReadonlyArray<number>): number => {
  const meanX = (samples.length - 1) / 2
  const meanY = samples.reduce((sum, sample) => sum + sample, 0) / samples.length
  let [above, below] = [0, 0]
  for (const [x, sample] of samples.entries()) {
    above += (x - meanX) * (sample - meanY)
    below += (x - meanX) ** 2
  }
  return below === 0 ? 0 : above / below
}

const mebibytes = (bytes: number): string => `${(bytes / MEBIBYTE).toFixed(1)} MiB`

/** A client connects, sends a few lines, and leaves in one way or another. */
const pass = (world: World, random: Random): void => {
  const wire = new Wire(world.server.port)
  const witness = new Witness(world.oracle, "passer")
  let welcome = false
  wire.hear = (line) => {
    witness.hear(line)
    if (welcome) return
    welcome = true
    const ways = [
      () => wire.socket.end(),
      () => wire.socket.resetAndDestroy(),
      () => wire.say("QUIT"),
      () => wire.socket.end("EXEC 1 in the middle of a li"),
      () => wire.socket.write("x".repeat(70_000))
    ]
    wire.say("WATCH", "EXEC 1 nothing", "PING")
    setTimeout(random.pick(ways), random.below(500))
  }
}

await main(options, async () => {
  const random = new Random(options.seed)
  const world = await World.open(random.fork(), { members: 20, candidates: 3, children: 1 })
  await world.settle()
  const memory: Array<number> = []
  const own: Array<number> = []
  /** At rest, when only the permanent clients are connected. */
  const descriptors: Array<number> = []
  const start = performance.now()
  const warm = () => performance.now() - start > Math.min(WARM_UP, options.milliseconds / 3)
  const sampling = setInterval(() => {
    if (!warm()) return
    memory.push(world.server.memory)
    own.push(process.memoryUsage.rss())
  }, 1000)
  let passers = 0
  const passing = setInterval(() => {
    // At rest only the permanent clients are connected.
    if (!world.busy) return
    passers++
    pass(world, random)
  }, PASSING_EVERY)
  let count = 0
  while (performance.now() - start < options.milliseconds) {
    await sleep(random.below(3000))
    await random.pick(mild)(world, random)
    await world.settle()
    count++
    if (warm()) descriptors.push(world.server.descriptors)
    if (count % 20 === 0) {
      const minutes = ((performance.now() - start) / 60_000).toFixed(1)
      console.log(`${minutes} min: ${count} faults, ${passers} passers, memory ${mebibytes(world.server.memory)}`)
    }
  }
  clearInterval(sampling)
  clearInterval(passing)
  const slope = slopeOf(memory)
  const growth = slope * memory.length
  const ownGrowth = slopeOf(own) * own.length
  console.log(
    `${count} faults, ${passers} passers, ${world.oracle.connections} connections in ` +
      `${((performance.now() - start) / 60_000).toFixed(1)} minutes`
  )
  console.log(`tracked commands ended: ${world.oracle.summary}`)
  console.log(
    `memory of the server: ${memory.length} samples, ${mebibytes(Math.min(...memory))} to ` +
      `${mebibytes(Math.max(...memory))}, slope ${mebibytes(slope * 60)} a minute, ${mebibytes(growth)} in all`
  )
  console.log(`memory of the clients: slope ${mebibytes(slopeOf(own) * 60)} a minute, ${mebibytes(ownGrowth)} in all`)
  console.log(`descriptors of the server at rest: ${Math.min(...descriptors)} to ${Math.max(...descriptors)}`)
  const spread = Math.max(...descriptors) - Math.min(...descriptors)
  check(spread <= MAX_SPREAD, () => `descriptors are not flat: ${descriptors.join(" ")}`)
  check(growth < MAX_GROWTH, () => `the server grew by ${mebibytes(growth)}`)
  check(ownGrowth < MAX_GROWTH, () => `the clients grew by ${mebibytes(ownGrowth)}`)
  world.server.checkSound()
  await world.close()
})
