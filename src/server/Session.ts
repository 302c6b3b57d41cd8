/**
 * The life of one client: it is admitted, what it says is done line by line, and
 * it leaves. The session speaks to an `effect/socket` `Socket`, so that it runs
 * without a network.
 *
 * The lines of a batch are done in one go, without an effect a line; what they
 * made necessary is written when the batch is done. `advance` gives way with an
 * effect only where a line must wait, or has to change the order.
 */
import { isUtf8 } from "node:buffer"
import { Cause, Effect, Exit } from "effect"
import { Socket } from "effect/socket"
import { ExecScanner } from "../protocol/ExecScanner.ts"
import { Lines, Next } from "../protocol/Lines.ts"
import {
  type ClientMessage,
  type LeaveReason,
  MAX_LISTED_TARGETS,
  type Reason,
  type ServerMessage
} from "../protocol/Message.ts"
import { helpTexts, readClient, writeServer } from "../protocol/Text.ts"
import type { RankRef } from "../rank/RankRef.ts"
import * as Roster from "../rank/Roster.ts"
import { type Announcer, memberId } from "./Announcer.ts"
import { Client, type Ending } from "./Client.ts"
import * as Connection from "./Connection.ts"
import type { Touched } from "./Outbox.ts"
import { type Reach, type Router, reach } from "./Router.ts"
import type { SettingsValues } from "./Settings.ts"

/** What the sessions of a server share. */
export interface Shared {
  readonly settings: SettingsValues
  readonly ranks: RankRef<Client>
  readonly announcer: Announcer
  readonly router: Router
  readonly touched: Touched
  /** The clients whose sessions run; the refused ones included. */
  readonly clients: Set<Client>
  /** Whether the server is about to stop. */
  stopping: boolean
}

/** What is done in one go before others get their turn, in deliveries: a few milliseconds of work. */
const BATCH = 8192

/** What a line costs that is no plain `EXEC`, in deliveries: it is decoded by Schema, answered, and may change the order. */
const LINE_COST = 256

/** Members in one piece of a listing. */
const LISTING_PIECE = 128

/** What a browser, or anything else that speaks HTTP, begins with. */
const HTTP = /^(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) |Host:)/i

/** A byte order mark is no part of a verb: it is left for the decoder to reject. */
const text = new TextDecoder("utf-8", { ignoreBOM: true })

export const run = Effect.fnUntraced(
  function* (shared: Shared, socket: Socket.Socket) {
    const { announcer, clients, ranks, settings, touched } = shared
    const connection = yield* Connection.make(socket, {
      settings,
      touched,
      onSlow: () => client.end(farewell("slow consumer"))
    })
    const { address, outbox } = connection
    const client: Client = new Client({ address, outbox, session: yield* Effect.fiber })
    yield* Effect.acquireRelease(
      Effect.sync(() => clients.add(client)),
      () =>
        Effect.sync(() => {
          clients.delete(client)
          announcer.changed()
        })
    )

    const refuse = (reason: Reason) => {
      connection.lastWords = writeServer({ _tag: "Error", reason })
      return Effect.annotateLogs(Effect.logInfo("refused"), { address, reason })
    }
    if (shared.stopping) return yield* refuse("shutting down")
    let refused = false
    let id: string | undefined
    yield* ranks.join(client).pipe(
      Effect.flatMap((member) => {
        id = memberId(member)
        const joined = Effect.annotateLogs(Effect.logInfo("joined"), { member: id, address })
        return Effect.andThen(joined, converse(shared, connection, client, member))
      }),
      Effect.catchTag("GroupFull", () => {
        refused = true
        return refuse("server full")
      }),
      Effect.onExit((exit) => {
        if (refused) return Effect.void
        const ending = client.ending ?? endingOf(exit)
        client.ending = ending
        connection.lastWords = ending.lastWords && writeServer(ending.lastWords)
        connection.abrupt = ending.reason === "http"
        return Effect.annotateLogs(Effect.logInfo("left"), { member: id, address, reason: ending.reason })
      })
    )
  },
  Effect.scoped,
  (session) => Effect.catchTag(session, "SocketError", () => Effect.void)
)

const farewell = (reason: "quit" | "shutting down" | "slow consumer"): Ending => ({
  reason,
  lastWords: { _tag: "Bye", reason }
})

/** Tells every client that the server stops, and succeeds when all are gone. */
export const stopAll = (shared: Shared): Effect.Effect<void> =>
  Effect.suspend(() => {
    shared.stopping = true
    shared.announcer.stop()
    const clients = [...shared.clients]
    for (const client of clients) client.end(farewell("shutting down"))
    return Effect.forEach(clients, (client) => client.ended, { discard: true })
  })

/** How a session ended that nobody had decided to end. */
const endingOf = (exit: Exit.Exit<void, Socket.SocketError>): Ending => {
  if (Exit.isSuccess(exit) || Cause.hasDies(exit.cause)) return { reason: "internal error" }
  if (Cause.hasInterrupts(exit.cause)) return farewell("shutting down")
  const error = Cause.squash(exit.cause)
  const closed = Socket.isSocketError(error) && error.reason._tag === "SocketCloseError" && error.reason.code === 1000
  return { reason: closed ? "closed" : "reset" }
}

/** Does what the client says, until it, or somebody else, ends the session. */
const converse = Effect.fnUntraced(function* (
  shared: Shared,
  { pull }: Connection.Connection,
  client: Client,
  member: Roster.Member<Client>
): Effect.fn.Return<void, Socket.SocketError> {
  const { touched } = shared
  const conversation = new Conversation(shared, client, member)
  while (client.ending === undefined) {
    touched.flush()
    for (const chunk of yield* pull) {
      conversation.push(chunk)
      for (let wait = conversation.advance(); wait !== undefined; wait = conversation.advance()) {
        touched.flush()
        yield* wait
      }
    }
  }
})

class Conversation {
  readonly #shared: Shared
  readonly #client: Client
  readonly #member: Roster.Member<Client>
  readonly #lines: Lines
  readonly #exec = new ExecScanner()
  #first = true
  /** Whether the line that `#lines` found has to be done once more. */
  #again = false
  #budget = BATCH
  /** The order as it was when it was last looked at, and this client's rank in it. */
  #roster: Roster.Roster<Client> = Roster.empty
  #rank = 0

  constructor(shared: Shared, client: Client, member: Roster.Member<Client>) {
    this.#shared = shared
    this.#client = client
    this.#member = member
    this.#lines = new Lines(shared.settings.maxLine)
    this.#look()
  }

  push(chunk: Uint8Array): void {
    this.#budget = BATCH
    this.#lines.push(chunk)
  }

  /** Does lines until no further one is there; or until something else has to be done first, which it returns. */
  advance(): Effect.Effect<void> | undefined {
    const { outbox } = this.#client
    while (this.#client.ending === undefined) {
      if (outbox.behind) return outbox.caughtUp
      if (this.#budget <= 0) {
        this.#budget = BATCH
        return Effect.yieldNow
      }
      if (!this.#again) {
        const next = this.#lines.next()
        if (next === Next.More) return undefined
        this.#look()
        if (next === Next.TooLong) {
          this.#end("line too long", { _tag: "Error", rank: this.#rank, reason: "line too long" })
          return undefined
        }
      }
      this.#again = false
      this.#look()
      const wait = this.#do()
      if (wait !== undefined) return wait
    }
    return undefined
  }

  /** Looks at the order as it is now; whatever this client is told next, its rank it is told before. */
  #look(): void {
    const roster = this.#shared.ranks.snapshot()
    if (roster === this.#roster) return
    this.#roster = roster
    this.#rank = Roster.rankOf(roster, this.#member.id)!
    this.#shared.announcer.tell(this.#member, this.#rank, roster)
  }

  #do(): Effect.Effect<void> | undefined {
    const { bytes, control, end, start, wide } = this.#lines
    const first = this.#first
    this.#first = false
    this.#budget--
    if (control || (wide && !isUtf8(bytes.subarray(start, end)))) {
      return this.#reject("malformed", "a line is UTF-8 without control characters")
    }
    if (this.#exec.scan(bytes, start, end)) {
      const { command, everyone, first, last } = this.#exec
      const to = everyone ? ({ _tag: "Everyone" } as const) : ({ _tag: "Range", first, last } as const)
      return this.#route(reach(this.#roster, this.#rank, to), bytes, command, end)
    }
    this.#budget -= LINE_COST
    const line = text.decode(bytes.subarray(start, end))
    if (first && HTTP.test(line)) return this.#end("http")
    const said = readClient(line)
    return said._tag === "Success" ? this.#answer(said.success) : this.#reject(said.failure.reason, said.failure.detail)
  }

  #answer(message: ClientMessage): Effect.Effect<void> | undefined {
    const { announcer, ranks } = this.#shared
    const client = this.#client
    switch (message._tag) {
      case "Exec": {
        const command = Buffer.from(message.command)
        return this.#route(reach(this.#roster, this.#rank, message.to), command, 0, command.length)
      }
      case "Explain":
        return this.#explain(reach(this.#roster, this.#rank, message.to))
      case "Ranks":
        client.outbox.appendListing(listing(this.#roster))
        return undefined
      case "Watch":
        announcer.watch(client)
        client.outbox.appendListing(listing(this.#roster))
        return undefined
      case "Unwatch":
        announcer.unwatch(client)
        return undefined
      case "Name":
        return Effect.matchEffect(ranks.rename(this.#member.id, message.name), {
          onFailure: () => Effect.sync(() => this.#reject("name taken")),
          onSuccess: () => Effect.sync(announcer.changed)
        })
      case "Yield":
        return Effect.map(ranks.stepDown(this.#member.id), () => {
          this.#look()
          announcer.changed()
        })
      case "Ping":
        client.say({ ...message, _tag: "Pong" })
        return undefined
      case "Pong":
        return undefined
      case "Help":
        for (const text of helpTexts) client.say({ _tag: "Help", text })
        return undefined
      case "Quit":
        return this.#end("quit", { _tag: "Bye", reason: "quit" })
    }
  }

  #route(reached: Reach, bytes: Uint8Array, start: number, end: number): Effect.Effect<void> | undefined {
    if (typeof reached === "string") return this.#reject(reached)
    const { first, last } = reached
    const delivered = this.#shared.router.deliver(this.#roster, this.#rank, first, last, bytes, start, end)
    switch (delivered._tag) {
      case "Sent":
        this.#budget -= last - first
        return undefined
      case "Held":
        this.#again = true
        return delivered.outbox.relief
      case "TooLong":
        return this.#reject("malformed", `a target's line would have more than ${this.#shared.settings.maxLine} bytes`)
      case "Missed":
        this.#reject("busy", `not delivered to ${delivered.missed} of ${last - first + 1}: being closed`)
        // Those being closed leave before the next line is routed.
        return Effect.yieldNow
    }
  }

  #explain(reached: Reach): undefined {
    if (typeof reached === "string") return this.#reject(reached)
    const { first, last } = reached
    const count = last - first + 1
    const targets = Array.from({ length: Math.min(count, MAX_LISTED_TARGETS) }, (_, i) => ({
      rank: first + i,
      member: memberId(Roster.at(this.#roster, first + i)!)
    }))
    this.#client.say({ _tag: "Targets", count, targets })
  }

  #reject(reason: Reason, detail?: string): undefined {
    this.#budget -= LINE_COST
    const error = { _tag: "Error", rank: this.#rank, reason } as const
    this.#client.say(detail === undefined ? error : { ...error, detail })
  }

  #end(reason: LeaveReason, lastWords?: ServerMessage): undefined {
    this.#client.ending ??= lastWords === undefined ? { reason } : { reason, lastWords }
  }
}

/** `MEMBER` for each member, then `END`. */
function* listing(roster: Roster.Roster<Client>): Generator<Uint8Array> {
  const size = Roster.size(roster)
  for (let rank = 0; rank < size; ) {
    let lines = ""
    for (const end = Math.min(rank + LISTING_PIECE, size); rank < end; rank++) {
      const member = Roster.at(roster, rank)!
      const { address } = member.data
      const message = { _tag: "Member", rank, member: memberId(member), address } as const
      lines += `${writeServer(member.name === undefined ? message : { ...message, name: member.name })}\n`
    }
    yield Buffer.from(lines)
  }
  yield Buffer.from(`${writeServer({ _tag: "End", size, epoch: roster.epoch })}\n`)
}
