/**
 * Small mutations of the production modules, each of which takes one clause out of the rule of succession; and the
 * loader that puts a mutation in place.
 */
import { readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"

export interface Mutant {
  /** What the module does without the mutation. */
  readonly clause: string
  /** In `src/`. */
  readonly file: string
  readonly before: string
  readonly after: string
  /** The seed that found it last: the search begins there. */
  readonly seed: number
}

export const mutants: ReadonlyArray<Mutant> = [
  // The holder.
  {
    clause: "the lease ends after two heartbeats",
    file: "client/lease/Lease.ts",
    before: "GOOD_FOR = 2",
    after: "GOOD_FOR = 4",
    seed: 5
  },
  {
    clause: "the lease counts from the ping, not from its answer",
    file: "client/lease/Lease.ts",
    before: "this.#goodFrom = ping.at",
    after: "this.#goodFrom = this.#stopwatch.now()",
    seed: 61
  },
  {
    clause: "a lease belongs to one connection",
    file: "client/Connection.ts",
    before: "const lease = new Lease(state.stopwatch, hello.heartbeat)",
    after:
      "const lease = (globalThis.__lease ??= new WeakMap()).get(state) ?? new Lease(state.stopwatch, hello.heartbeat); globalThis.__lease.set(state, lease)",
    seed: 34
  },
  {
    clause: "the leader pings often enough",
    file: "client/lease/Lease.ts",
    before: "PING_AFTER_ACTING = 0.25",
    after: "PING_AFTER_ACTING = 1.5",
    seed: 1
  },
  {
    clause: "the leader pings four times in a heartbeat",
    file: "client/lease/Lease.ts",
    before: "PING_AFTER_ACTING = 0.25",
    after: "PING_AFTER_ACTING = 0.5",
    seed: 429
  },
  {
    clause: "the work has ended when the lease ends",
    file: "client/Leader.ts",
    before: "const left = term.left - stopWithin",
    after: "const left = term.left",
    seed: 8
  },
  {
    clause: "the client looks at its lease in between",
    file: "client/Leader.ts",
    before: "Effect.sleep(Math.min(TICK, Math.ceil(left)))",
    after: "Effect.sleep(Math.ceil(left))",
    seed: 389
  },
  {
    clause: "another rank stops the work at once",
    file: "client/lease/Terms.ts",
    before: "rank !== 0 || this.#yielding",
    after: "this.#yielding",
    seed: 2
  },
  {
    clause: "the work begins only if there is time to stop it",
    file: "client/Leader.ts",
    before: "term.left > stopWithin\n        ?",
    after: "true\n        ?",
    seed: 1
  },
  {
    clause: "a suspend counts",
    file: "client/lease/Stopwatch.ts",
    before: "now.uptime - uptime",
    after: "0",
    seed: 10
  },
  {
    clause: "the monotonic clock counts",
    file: "client/lease/Stopwatch.ts",
    before: "now.monotonic - monotonic",
    after: "0",
    seed: 8
  },
  {
    clause: "a client steps down after its work has ended",
    file: "client/Leader.ts",
    before: "  work.interruptUnsafe()\n",
    after: "",
    seed: 4
  },
  {
    clause: "a client that leaves says QUIT after its work has ended",
    file: "client/Leader.ts",
    before: "Effect.andThen(Deferred.succeed(leaving, undefined), Deferred.await(left))",
    after: "Deferred.succeed(leaving, undefined)",
    seed: 25
  },
  {
    clause: "a client that leaves says QUIT",
    file: "client/Connection.ts",
    before: "hello.isResumable\n      ?",
    after: "false\n      ?",
    seed: 25
  },
  {
    clause: "work that ends by itself gives up rank 0",
    file: "client/Leader.ts",
    before: "yield* terms.stepDown\n",
    after: "yield* Effect.void\n",
    seed: 33
  },
  {
    clause: "the server knows of the lease",
    file: "client/Reconnect.ts",
    before: "this.#lease ? { lease: true as const }",
    after: "false ? { lease: true as const }",
    seed: 1
  },
  // Resuming.
  {
    clause: "the lead-in is waited for",
    file: "client/lease/Terms.ts",
    before: "leadIn === 0",
    after: "leadIn >= 0",
    seed: 6
  },
  {
    clause: "after a lead-in the seat is confirmed before the client acts",
    file: "client/lease/Terms.ts",
    before: "Effect.andThen(Effect.sleep(leadIn), confirmed(link))",
    after: "Effect.sleep(leadIn)",
    seed: 46
  },
  {
    clause: "the loss of a connection does not end the work",
    file: "client/lease/Terms.ts",
    before: "return this.#granted ? Effect.void : this.end",
    after: "return this.end",
    seed: 1
  },
  {
    clause: "a former leader goes on as rank 0 of a server that has just started",
    file: "client/lease/Terms.ts",
    before: "term.member === member || leadIn > 0",
    after: "term.member === member",
    seed: 27
  },
  // The server.
  {
    clause: "the place of a lost leader is reserved for two and a half heartbeats",
    file: "server/Lease.ts",
    before: "this.heardAt + SILENCE * this.#heartbeat",
    after: "this.heardAt + 1.5 * this.#heartbeat",
    seed: 8
  },
  {
    clause: "the place of a lost leader is reserved",
    file: "server/admission/Reservations.ts",
    before: "return Math.max(lease?.until ?? 0, this.#leadIns.leasedUntil(group.name))",
    after: "return 0",
    seed: 2
  },
  {
    clause: "a shorter --grace does not shorten it",
    file: "server/admission/Reservations.ts",
    before: "Math.max(now + grace, leasedUntil)",
    after: "grace > 0 ? now + grace : leasedUntil",
    seed: 2
  },
  {
    clause: "it counts from what was heard last, not from the loss",
    file: "server/admission/Reservations.ts",
    before: "return Math.max(lease?.until ?? 0,",
    after: "return Math.max(lease === undefined ? 0 : this.#now() + lease.until - lease.heardAt,",
    seed: 24
  },
  {
    clause: "every line counts as heard",
    file: "server/session/Reader.ts",
    before: "if (session.lease !== undefined) session.lease.heardAt = session.context.now()",
    after: "",
    seed: 2
  },
  {
    clause: "bytes that the holder has yet to read do not prolong it",
    file: "server/session/Liveness.ts",
    before: "silence <= realNow - this.#sweptAt",
    after: "client.heard || client.outbox.readPaused",
    seed: 24
  },
  {
    clause: "a silent holder times out",
    file: "server/session/Liveness.ts",
    before: "now - heardAt >= SILENCE * interval",
    after: "lease === undefined && now - heardAt >= SILENCE * interval",
    seed: 9
  },
  {
    clause: "quit promotes at once",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["shutting down"])',
    seed: 25
  },
  {
    clause: "a client that leaves for this reason is lost: closed",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["quit", "shutting down", "closed"])',
    seed: 18
  },
  {
    clause: "a client that leaves for this reason is lost: reset",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["quit", "shutting down", "reset"])',
    seed: 2
  },
  {
    clause: "a client that leaves for this reason is lost: timed out",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["quit", "shutting down", "timed out"])',
    seed: 18
  },
  {
    clause: "a client that leaves for this reason is lost: slow consumer",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["quit", "shutting down", "slow consumer"])',
    seed: 9
  },
  {
    clause: "a client that leaves for this reason is lost: line too long",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["quit", "shutting down", "line too long"])',
    seed: 8
  },
  {
    clause: "a client that leaves for this reason is lost: kicked",
    file: "server/admission/Reservations.ts",
    before: 'new Set(["quit", "shutting down"])',
    after: 'new Set(["quit", "shutting down", "kicked"])',
    seed: 7
  },
  {
    clause: "a reservation for a lease is never refused for want of room",
    file: "server/admission/Reservations.ts",
    before: "(grace === 0 && leasedUntil <= now)",
    after:
      "(grace === 0 && (leasedUntil <= now || this.#seats.counted(peer.address).total >= this.#settings.maxConnections))",
    seed: 111
  },
  {
    clause: "a reserved place does not count in --max-clients",
    file: "server/Server.ts",
    before: "reservations.isPlaceholder(peer)",
    after: "reservations.isPlaceholder(peer) && false",
    seed: 13
  },
  {
    clause: "the name of a lost leader is free for a newcomer",
    file: "server/admission/Reservations.ts",
    before: "return this.isPlaceholder(peer) && bearer !== undefined && isSameBearer(bearer, newcomer)",
    after: "return bearer === newcomer",
    seed: 45
  },
  {
    clause: "a later Hello does not shorten the lease",
    file: "server/Lease.ts",
    before: "    this.#earlier = this.until\n",
    after: "",
    seed: 18
  },
  {
    clause: "the reservation ends by its own deadline",
    file: "server/admission/ReservedSeats.ts",
    before: "sleepUntil(deadline, this.#now)",
    after: "sleepUntil(deadline + 500, this.#now)",
    seed: 45
  },
  {
    clause: "a silent holder times out by its own deadline",
    file: "server/session/Liveness.ts",
    before: "Math.min(tick, Math.ceil(this.#due - this.#now))",
    after: "tick * 3",
    seed: 24
  },
  {
    clause: "a client with a lease can resume whatever --grace says",
    file: "server/admission/Reservations.ts",
    before: "return hasLease || !Duration.isZero(this.#settings.grace)",
    after: "return !Duration.isZero(this.#settings.grace)",
    seed: 8
  },
  {
    clause: "a resume brings the lead-in",
    file: "server/admission/Reservations.ts",
    before: "    this.#leadIns.defer(seat.group.name, leasedUntil)\n",
    after: "",
    seed: 6
  },
  {
    clause: "Welcome has the lead-in",
    file: "server/session/seating.ts",
    before: "...(leadIn === undefined ? {} : { leadIn }),",
    after: "",
    seed: 6
  },
  {
    clause: "Rank has the lead-in, which is handed on when the client that waits leaves",
    file: "server/group/RankNotifier.ts",
    before: "leadIn === undefined ? message : { ...message, leadIn }",
    after: "message",
    seed: 6
  },
  {
    clause: "a server that has just started has a lead-in",
    file: "server/group/LeadIns.ts",
    before: "this.#settledAt = now() + settle",
    after: "this.#settledAt = now()",
    seed: 14
  }
]

/**
 * Imports the simulation with this mutation in place: all modules of the project anew, and everything else as it is.
 * Fails if the text of the mutation does not occur exactly once.
 */
export const simulationOf = async ({ after, before, file }: Mutant): Promise<typeof import("./simulation.ts")> => {
  const root = new URL("../../", import.meta.url).href
  const path = new URL(`src/${file}`, root)
  const parts = readFileSync(path, "utf8").split(before)
  if (parts.length !== 2) throw new Error(`src/${file} has this text ${parts.length - 1} times, not once: ${before}`)
  const mark = `mutant=${encodeURIComponent(after.slice(0, 20))}${Math.random()}`
  const hooks = registerHooks({
    resolve: (specifier, context, next) => {
      const resolved = next(specifier, context)
      const isOwn = resolved.url.startsWith(root) && !resolved.url.includes("/node_modules/")
      return isOwn && context.parentURL?.endsWith(mark) ? { ...resolved, url: `${resolved.url}?${mark}` } : resolved
    },
    load: (url, context, next) => {
      if (!url.endsWith(mark)) return next(url, context)
      const plain = url.slice(0, url.indexOf("?"))
      if (plain !== path.href) return next(url, context)
      return { format: "module-typescript", shortCircuit: true, source: parts.join(after) }
    }
  })
  try {
    const simulation = pathToFileURL(fileURLToPath(new URL("./simulation.ts", import.meta.url)))
    return await import(`${simulation.href}?${mark}`)
  } finally {
    hooks.deregister()
  }
}
