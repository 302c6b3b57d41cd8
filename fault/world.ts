/**
 * A server with all kinds of clients, some of them behind a proxy, some of them
 * processes; and the invariants that hold when everything is at rest.
 */
import { open as openProxy, type TestProxy } from "../test/support/proxy.ts"
import { Candidate } from "./candidate.ts"
import { Member } from "./member.ts"
import { Oracle, Witness } from "./oracle.ts"
import type { Random } from "./random.ts"
import { check, until } from "./run.ts"
import { Process, type Server, type Surroundings, serve } from "./server.ts"
import { Wire } from "./wire.ts"

/** The timeout of a tracked command, in seconds: short, so that unanswered commands end soon. */
const COMMAND_TIMEOUT = 2

/** Clients reconnect and processes start on a machine that also does other work. */
const SETTLES_WITHIN = 30_000

/** Descriptors of the server besides those of its clients. */
const OWN_DESCRIPTORS = 40

const SERVER = ["--max-clients", "3000", "--command-timeout", `${COMMAND_TIMEOUT}`]

/** It gets the signals of its leader that end nothing. */
const LEADING = 'trap : HUP USR1; echo "leads $RANKD_EPOCH"; while :; do sleep 0.2; done'

/** A process that can be restarted. */
export class Child {
  readonly name: string
  readonly #start: () => Process
  process: Process

  constructor(name: string, args: ReadonlyArray<string>, surroundings: Surroundings) {
    this.name = name
    this.#start = () => new Process(args, surroundings)
    this.process = this.#start()
  }

  async restart(signal: NodeJS.Signals): Promise<void> {
    await this.process.end(signal)
    this.process = this.#start()
  }
}

export class World {
  readonly oracle = new Oracle()
  readonly members: Array<Member> = []
  readonly candidates: Array<Candidate> = []
  readonly agents: Array<Child> = []
  readonly leads: Array<Child> = []
  server: Server
  readonly proxy: TestProxy
  /** What the server has around it. Its clock is the one of all processes. */
  readonly #surroundings: Surroundings
  /** The farthest that the wall clock was ahead of the real one, in seconds. */
  #ahead = 0
  #busy = true
  readonly #random: Random
  readonly #ticking: NodeJS.Timeout

  private constructor(server: Server, proxy: TestProxy, random: Random, surroundings: Surroundings) {
    this.server = server
    this.proxy = proxy
    this.#surroundings = surroundings
    this.#random = random
    this.#ticking = setInterval(() => {
      for (const member of this.members) if (random.chance(0.2)) member.act()
      this.#hearLeads()
    }, 20)
  }

  static async open(
    random: Random,
    size = { members: 20, candidates: 3, children: 2 },
    surroundings: Surroundings = {}
  ): Promise<World> {
    const server = await serve(SERVER, 0, surroundings)
    const world = new World(server, await openProxy(server.port), random.fork(), surroundings)
    const to = ["--port", `${server.port}`]
    const { clock } = surroundings
    const child = (name: string, ...args: ReadonlyArray<string>) => new Child(name, args, { clock })
    for (let i = 0; i < size.children; i++) {
      world.leads.push(child(`lead${i}`, "lead", ...to, "--name", `lead${i}`, "--", "sh", "-c", LEADING))
      world.agents.push(child(`agent${i}`, "agent", ...to, "--name", `agent${i}`))
    }
    for (let i = 0; i < size.candidates; i++) {
      world.candidates.push(new Candidate(`c${i}`, world.proxy.port, world.oracle, random.fork()))
    }
    for (let i = 0; i < size.members; i++) {
      const port = i % 2 === 0 ? world.proxy.port : server.port
      world.members.push(new Member(`n${i}`, () => port, world.oracle, random.fork()))
    }
    return world
  }

  get children(): ReadonlyArray<Child> {
    return [...this.leads, ...this.agents]
  }

  get busy(): boolean {
    return this.#busy
  }

  /** Whether the clients send commands to each other. */
  set busy(busy: boolean) {
    this.#busy = busy
    for (const one of [...this.members, ...this.candidates]) one.busy = busy
  }

  /** Ends the server with this signal, and starts another in its place. */
  async restartServer(signal: NodeJS.Signals): Promise<void> {
    const { port } = this.server
    await this.server.end(signal)
    this.oracle.restarted()
    // Behind the clock of the last server, the epochs of the next one would grow only from the first `Hello` on.
    this.setClock(this.#ahead)
    this.server = await serve(SERVER, port, this.#surroundings)
  }

  /** Sets the wall clock of all processes so many seconds ahead of the real one. */
  setClock(seconds: number): void {
    this.#ahead = Math.max(this.#ahead, seconds)
    this.#surroundings.clock?.set(seconds)
  }

  /** Stops the server's terminal, until `settle`. */
  stopTerminal(): void {
    this.#surroundings.terminal?.stop()
  }

  #hearLeads(): void {
    for (const { name, process } of this.leads) {
      for (const [, epoch] of process.stdout.matchAll(/^leads (\d+)$/gm)) this.oracle.leads(Number(epoch), name)
    }
  }

  /** Ends all faults, waits until everything is quiet, and checks the invariants. */
  async settle(): Promise<void> {
    this.proxy.delay = 0
    this.proxy.split = 0
    this.proxy.stalled = false
    this.#surroundings.terminal?.go()
    this.server.signal("SIGCONT")
    for (const { process } of this.children) process.signal("SIGCONT")
    this.busy = false
    const { oracle } = this
    await until(
      "every tracked command has an end",
      () => {
        oracle.check()
        const open = [...this.members, ...this.candidates].filter(({ open }) => open > 0)
        return open.length === 0 || open.map(({ name, open }) => `${open} of ${name}`).join()
      },
      SETTLES_WITHIN
    )
    const observer = new Wire(this.server.port)
    const witness = new Witness(oracle, "observer")
    let listed: Array<string> = []
    let listing: Array<string> = []
    observer.hear = (line) => {
      witness.hear(line)
      if (line.startsWith("MEMBER ")) listing.push(line)
      if (line.startsWith("END ")) listed = listing.splice(0)
    }
    let asked = 0
    await until(
      "all know where they stand",
      () => {
        oracle.check()
        check(!observer.closed, () => "the observer was closed")
        if (asked++ % 10 === 0) observer.say("RANKS")
        return this.#notYet(listed, witness) ?? true
      },
      SETTLES_WITHIN
    )
    const size = listed.length
    await until("descriptors are closed", () => {
      const { descriptors } = this.server
      return descriptors <= size + OWN_DESCRIPTORS || `${descriptors} for ${size} clients`
    })
    observer.socket.destroy()
    listing = []
    this.server.checkSound()
    for (const { process } of this.children) process.checkSound()
    oracle.check()
    this.busy = true
  }

  /** Why the list does not show every client where the client believes to be; undefined if it does. */
  #notYet(listed: ReadonlyArray<string>, observer: Witness): string | undefined {
    const words = listed.map((line) => line.split(" "))
    const standing = new Map(words.map(([, rank, member]) => [member, Number(rank)]))
    const byName = new Map(words.map(([, rank, , name]) => [name, Number(rank)]))
    for (const { name, ranked, witness } of this.members) {
      if (!ranked || standing.get(witness!.member) !== witness!.rank) return `${name} is not where it believes to be`
    }
    for (const { leading, name, rank } of this.candidates) {
      if (byName.get(name) === undefined || byName.get(name) !== rank()) return `${name} is not where it believes to be`
      if ((leading !== undefined) !== (rank() === 0)) return `${name} is at ${rank()}, and leads under ${leading}`
    }
    for (const { name } of this.children) if (!byName.has(name)) return `${name} is not there`
    if (standing.get(observer.member) !== observer.rank) return "the observer is not where it believes to be"
    const expected = this.members.length + this.candidates.length + this.children.length + 1
    return listed.length === expected ? undefined : `${listed.length} are listed, and ${expected} are there`
  }

  async close(): Promise<void> {
    clearInterval(this.#ticking)
    for (const member of this.members) member.stop()
    await Promise.all(this.candidates.map((candidate) => candidate.stop()))
    await Promise.all(this.children.map(({ process }) => process.end("SIGKILL")))
    this.proxy.close()
    await this.server.end()
  }

  /** A random client. */
  pick<A>(from: ReadonlyArray<A>): A {
    return this.#random.pick(from)
  }
}
