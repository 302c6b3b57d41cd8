/** Many clients: how fast the server admits them, what they cost, and how long a change takes to reach all of them. */
import { type Client, close, open, sleep } from "./client.ts"
import { protocols } from "./protocols.ts"
import type { System } from "./systems.ts"

/** Connections under way at the same time. */
const AT_ONCE = 64

/** The clients, in no particular order. */
const connectAll = async (
  { name, port }: System,
  count: number
): Promise<Array<Client & { readonly welcome: string }>> => {
  const { hello, welcome } = protocols[name]
  const clients: Array<Client & { readonly welcome: string }> = []
  let left = count
  const worker = async () => {
    while (left-- > 0) clients.push(await open(port, hello, welcome))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return clients
}

/** Clients admitted a second. */
export const admission = async (system: System, count: number): Promise<number> => {
  const start = performance.now()
  const clients = await connectAll(system, count)
  const seconds = (performance.now() - start) / 1000
  await close(clients)
  return count / seconds
}

/** Bytes of memory per idle client, with so many clients of a freshly started server. */
export const idle = async (system: System, count: number): Promise<number> => {
  await sleep(1000)
  const before = system.memory()
  const clients = await connectAll(system, count)
  await sleep(2000)
  const bytes = (system.memory() - before) / count
  await close(clients)
  return bytes
}

/** Milliseconds from a departure until clients know. */
export interface Succession {
  /** Until the next leader knows. */
  readonly next: number
  /** Until all know their rank. */
  readonly all: number
}

interface Ranked extends Client {
  rank: number
  /** The rank that the client waits for. */
  due: number
}

const LF = 0x0a

/** The rank in the last whole line of the bytes read. */
const lastRank = (bytes: Buffer, length: number): number => {
  const start = length < 2 ? 0 : bytes.subarray(0, length - 1).lastIndexOf(LF) + 1
  return Number(/^RANK (\d+) /.exec(bytes.toString("latin1", start, length))?.[1] ?? -1)
}

/** Several times over, `leaving` of so many clients leave at once: rank 0, and others at random. */
export const succession = async (
  system: System,
  count: number,
  leaving: number,
  times: number
): Promise<ReadonlyArray<Succession>> => {
  let members = (await connectAll(system, count)).map(
    (client): Ranked => Object.assign(client, { rank: Number(/^RANK (\d+) /.exec(client.welcome)![1]), due: -1 })
  )
  members.sort((a, b) => a.rank - b.rank)
  const measured: Array<Succession> = []
  for (let time = 0; time < times; time++) {
    await sleep(300)
    const others = members.slice(1).sort(() => Math.random() - 0.5)
    const gone = new Set([members[0]!, ...others.slice(0, leaving - 1)])
    members = members.filter((member) => !gone.has(member))
    let waiting = 0
    for (const [rank, member] of members.entries()) {
      member.due = rank
      if (member.rank !== rank) waiting++
    }
    measured.push(
      await new Promise<Succession>((resolve) => {
        let next = 0
        const start = performance.now()
        for (const member of members) {
          member.handle = (bytes, length) => {
            const rank = lastRank(bytes, length)
            if (rank === member.rank || rank < 0) return
            if (rank === 0) next = performance.now() - start
            if (member.rank === member.due) waiting++
            member.rank = rank
            if (rank === member.due && --waiting === 0) resolve({ next, all: performance.now() - start })
          }
        }
        for (const { socket } of gone) socket.destroy()
      })
    )
  }
  await close(members)
  return measured
}
