/** Commands from publishers to subscribers, as fast as possible. */
import { type Client, close, open, sleep } from "./client.ts"
import { protocols, type Route } from "./protocols.ts"
import type { System } from "./systems.ts"

export interface Traffic {
  readonly publishers: number
  /** The subscribers of each command: one for each publisher, or so many for the only publisher. */
  readonly fanOut: number
  /**
   * Commands of one publisher that are written and not yet delivered, at most: no
   * system has to hold more than all of them hold without trouble.
   */
  readonly window: number
}

/** Bytes of commands in one write, at most. */
const BATCH_BYTES = 65_536

/** Deliveries per second, over so many milliseconds, after `warmUp` more. */
export const throughput = async (
  { name, port }: System,
  { fanOut, publishers, window }: Traffic,
  milliseconds: number,
  warmUp: number
): Promise<number> => {
  const protocol = protocols[name]
  const everyone = fanOut > 1
  const routes = Array.from({ length: publishers }, (_, publisher): Route => ({ publisher, publishers, everyone }))
  const clients: Array<Client> = []
  for (const _ of routes) clients.push(await open(port, protocol.hello, protocol.welcome))

  let delivered = 0
  for (const [publisher, route] of routes.entries()) {
    const command = protocol.command(route)
    const size = protocol.delivery(route).length
    const batched = Math.max(1, Math.min(window / 4, Math.floor(BATCH_BYTES / command.length)))
    const batch = Buffer.from(command.repeat(batched))
    const { socket } = clients[publisher]!
    let outstanding = 0
    const pump = () => {
      while (outstanding + batched * size * fanOut <= window * size * fanOut) {
        outstanding += batched * size * fanOut
        socket.write(batch)
      }
    }
    for (let i = 0; i < fanOut; i++) {
      const { hello, welcome } = protocol.subscribe(route)
      const subscriber = await open(port, hello, welcome)
      clients.push(subscriber)
      subscriber.handle = (_, length) => {
        outstanding -= length
        delivered += length / size
        pump()
      }
    }
    setImmediate(pump)
  }
  await sleep(warmUp)
  const before = delivered
  const start = performance.now()
  await sleep(milliseconds)
  const rate = (delivered - before) / ((performance.now() - start) / 1000)
  await close(clients)
  return rate
}
