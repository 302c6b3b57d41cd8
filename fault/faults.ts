/** The faults. Each takes its time, and leaves it to `World.settle` to end what it began. */
import { Witness } from "./oracle.ts"
import type { Random } from "./random.ts"
import { sleep, until } from "./run.ts"
import { Wire } from "./wire.ts"
import type { World } from "./world.ts"

export type Fault = (world: World, random: Random) => Promise<void>

const seconds = (random: Random, least: number, most: number): Promise<void> =>
  sleep(1000 * (least + random.next() * (most - least)))

/** So many clients connect at once, lose their connections, connect again at once, and leave. */
const crowd =
  (count: number): Fault =>
  async (world) => {
    // Commands to everyone would go to all of these.
    world.busy = false
    const { oracle } = world
    for (let time = 0; time < 2; time++) {
      const witnesses: Array<Witness> = []
      const wires = Array.from({ length: count }, (_, i) => {
        const wire = new Wire(world.server.port)
        const witness = new Witness(oracle, `crowd ${i}`)
        witnesses.push(witness)
        wire.hear = (line) => witness.hear(line)
        return wire
      })
      await until(`${count} clients are ranked`, () => {
        oracle.check()
        return witnesses.filter(({ rank }) => rank >= 0).length === count
      })
      for (const { socket } of wires) socket.resetAndDestroy()
    }
  }

/** In seconds. */
const HOUR = 3600

const HARMLESS = ["SIGUSR1", "SIGWINCH", "SIGCONT"] as const

/** Bytes of a command, and commands: more than sockets and the server keep for a client that does not read. */
const FLOOD_BYTES = 60_000
const FLOOD_LINES = 300

/** A client does not read; the client that sends to it must still get its answers. */
const deaf: Fault = async (world) => {
  const [flooder, target] = [new Wire(world.server.port), new Wire(world.server.port)]
  const name = `deaf${Date.now()}`
  await flooder.ask(["PING there"], (line) => line === "PONG there")
  await target.ask([`NAME ${name}`], (line) => line.endsWith(` ${name}`))
  // The first to connect ranks higher: these two are in order.
  await flooder.ask(["PING"], (line) => line === "PONG")
  target.socket.pause()
  const line = `EXEC @${name} ${"x".repeat(FLOOD_BYTES)}`
  await flooder.ask([...Array.from({ length: FLOOD_LINES }, () => line), "PING done"], (heard) => heard === "PONG done")
  target.socket.resume()
  await until("the deaf client is closed", () => target.closed)
  flooder.socket.destroy()
}

export const faults: { readonly [name: string]: Fault } = {
  "connections are reset": async ({ proxy }, random) => {
    for (let left = 1 + random.below(4); left > 0; left--) {
      proxy.cut()
      await seconds(random, 0.1, 0.8)
    }
  },
  "what is said comes late": async ({ proxy }, random) => {
    proxy.delay = 5 + random.below(100)
    await seconds(random, 1, 2)
  },
  "what is said comes in pieces": async ({ proxy }, random) => {
    proxy.split = 1 + random.below(7)
    await seconds(random, 1, 2)
  },
  "connections stall": async ({ proxy }, random) => {
    proxy.stalled = true
    await seconds(random, 1, 3)
  },
  "connections stall, and are reset": async ({ proxy }, random) => {
    proxy.stalled = true
    await seconds(random, 0.5, 1.5)
    proxy.cut()
  },
  "an agent is paused": async ({ agents }, random) => {
    random.pick(agents).process.signal("SIGSTOP")
    // Longer than the timeout of a command.
    await seconds(random, 2.5, 3)
  },
  "an agent is killed": ({ agents }, random) => random.pick(agents).restart("SIGKILL"),
  "an agent is stopped": ({ agents }, random) => random.pick(agents).restart("SIGTERM"),
  "a leader is paused": async ({ leads }, random) => {
    random.pick(leads).process.signal("SIGSTOP")
    await seconds(random, 1, 2)
  },
  "a leader is killed": ({ leads }, random) => random.pick(leads).restart("SIGKILL"),
  "a leader is stopped": ({ leads }, random) => random.pick(leads).restart("SIGTERM"),
  "the server is paused": async ({ server }, random) => {
    server.signal("SIGSTOP")
    await seconds(random, 0.5, 2)
  },
  "the server is killed": (world) => world.restartServer("SIGKILL"),
  "the server is stopped": (world) => world.restartServer("SIGTERM"),
  "the wall clock is set": async (world, random) => {
    for (let left = 1 + random.below(3); left > 0; left--) {
      world.setClock(random.below(4 * HOUR) - 2 * HOUR)
      await seconds(random, 0.2, 1)
    }
  },
  "the server's terminal is stopped": async (world, random) => {
    world.stopTerminal()
    await crowd(200)(world, random)
    if (random.chance(0.5)) await world.restartServer("SIGTERM")
  },
  "signals come that end nothing": async ({ agents, leads, server }, random) => {
    for (let left = 5 + random.below(10); left > 0; left--) {
      const [process, signals] = random.pick([
        // Its standard error is a terminal, so SIGHUP would stop it.
        [server, HARMLESS],
        [random.pick(agents).process, [...HARMLESS, "SIGHUP"]],
        [random.pick(leads).process, HARMLESS]
      ] as const)
      process.signal(random.pick(signals))
      await seconds(random, 0.01, 0.1)
    }
  },
  "1,000 clients come, and come again, at once": crowd(1000),
  "a client does not read": deaf
}

/** Faults that the server survives, and that leave its memory comparable. */
export const mild: ReadonlyArray<Fault> = [
  faults["connections are reset"]!,
  faults["what is said comes late"]!,
  faults["what is said comes in pieces"]!,
  faults["connections stall"]!,
  faults["connections stall, and are reset"]!,
  crowd(100),
  deaf
]
