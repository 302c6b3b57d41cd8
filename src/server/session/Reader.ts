/**
 * What one client says, done line by line: each is read, and answered, routed or
 * rejected. The lines of a batch are done in one go, without an effect a line;
 * `advance` gives way with an effect only where a line must wait, or changes the
 * order. It owns the client's view: its seat, and the order as last looked at.
 */
import { isUtf8 } from "node:buffer"
import { Duration, Effect, Exit, Result, Scope } from "effect"
import { jsonCodec } from "../../protocol/json/JsonCodec.ts"
import { Lines, Next } from "../../protocol/Lines.ts"
import { type ClientMessage, MAX_LISTED_TARGETS, type ServerMessage } from "../../protocol/Messages.ts"
import type { LeaveReason, Reason } from "../../protocol/Reasons.ts"
import { ExecScanner } from "../../protocol/text/ExecScanner.ts"
import { ResultScanner } from "../../protocol/text/ResultScanner.ts"
import { helpTexts, textCodec } from "../../protocol/text/TextCodec.ts"
import { DEFAULT_GROUP } from "../../rank/Groups.ts"
import * as Roster from "../../rank/Roster.ts"
import { EVERYTHING } from "../admission/Access.ts"
import { RateLimit } from "../admission/RateLimiter.ts"
import type { Seat } from "../admission/Reservations.ts"
import type { Group } from "../group/Group.ts"
import { listed, listing } from "../group/memberList.ts"
import { memberId } from "../group/RankNotifier.ts"
import { type Delivered, type Reach, rankOf, reach, type Tracking } from "../group/Router.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import { type Client, NOT_TOLD } from "../Peer.ts"
import type { Shared } from "./Session.ts"

/** What was read last is done with before the next line of anybody is read. */
const exec = new ExecScanner()
const result = new ResultScanner()

/** What is done in one go before others get their turn, in deliveries: a few milliseconds of work. */
const BATCH = 8192

/** What a delivery costs of a line that goes to several, in those of lines to one: most of its bytes are shared. */
const SHARED_COST = 1 / 8

/** What a line of a tracked command costs that the scanners read, in deliveries. */
const TRACKED_COST = 8

/**
 * Half of as many tracked lines as came the time before is written at once, and not
 * only when the rest is done, too: what is open then goes round in two lumps, and
 * while one is worked on here, those that it is for work on the other. Fewer lines
 * than these cost more to write by themselves than that gains.
 */
const MIN_LUMP = 32

/** What a line costs that is no plain `EXEC`, in deliveries: it is decoded by Schema, answered, and may change the order. */
const LINE_COST = 64

/** What a browser, or anything else that speaks HTTP, begins with. */
const HTTP = /^(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) |Host:)/i

/** So many bytes tell. */
const HTTP_BYTES = 8

const isHttp = (bytes: Uint8Array, start: number, end: number): boolean =>
  HTTP.test(Buffer.from(bytes.subarray(start, Math.min(end, start + HTTP_BYTES))).toString("latin1"))

/** Bytes of a line, its LF included, of a client that has shown no token yet: the longest token fits. */
const MAX_STRANGERS_LINE = 4096

/** Bytes that may wait for such a client: some hundred answers. */
const MAX_STRANGERS_PENDING = 16_384

const NOT_GRANTED = "your token is for another name, or another group"

/** The version of the protocol that is spoken. */
const PROTOCOL = 1

const OPEN_BRACE = 0x7b

/** A byte order mark is no part of a verb: it is left for the decoder to reject. */
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

type Step = Effect.Effect<void> | undefined

export class Conversation {
  readonly #shared: Shared
  readonly #client: Client
  readonly #lines: Lines
  /** How long a command may take that does not say, in milliseconds. */
  readonly #timeout: number
  #first = true
  /** Whether it has said `Hello`. */
  #greeted = false
  /** Whether the line that `#lines` found has to be done once more. */
  #again = false
  #budget = BATCH
  /** Lines of tracked commands in what was pushed last, and after how many of them what they led to is written. */
  #trackedLines = 0
  #lump = MIN_LUMP
  /** Whether its commands are to be checked: it may give none, or not as many as it likes. */
  #checked = false
  /** None before admission. */
  #seat: Seat | undefined
  /** The order as it was when it was last looked at, while lines are done; and this client's rank in it. */
  #roster: Roster.Roster<Client> = Roster.empty
  #rank = 0

  constructor(shared: Shared, client: Client) {
    this.#shared = shared
    this.#client = client
    this.#lines = new Lines(Math.min(shared.settings.maxLine, MAX_STRANGERS_LINE))
    this.#timeout = Duration.toMillis(shared.settings.commandTimeout)
  }

  /** Gives up the client's place, or has it held; the group that it was in, none before admission. */
  get leave(): Effect.Effect<Group | undefined> {
    return Effect.suspend(() => {
      const seat = this.#seat
      if (seat === undefined) return Effect.undefined
      this.#seat = undefined
      return Effect.as(this.#shared.places.leave(this.#client, seat), seat.group)
    })
  }

  /** To be called when the client has its grant, before anything that it allows. */
  letIn(): void {
    const { rate, maxLine } = this.#shared.settings
    this.#lines.limit = maxLine
    this.#checked = rate > 0 || !this.#client.grant!.issue
    if (rate > 0) this.#client.rate = new RateLimit(rate)
  }

  push(chunk: Uint8Array): void {
    this.#budget = BATCH
    this.#lump = Math.max(MIN_LUMP, this.#trackedLines >> 1)
    this.#trackedLines = 0
    this.#lines.push(chunk)
  }

  /** Does lines until no further one is there; or until something else has to be done first, which it returns. */
  advance(): Step {
    const { outbox } = this.#client
    // Here and not in `push`: after a wait for another client it is there as well.
    this.#client.heard = true
    while (this.#client.ending === undefined) {
      if (outbox.behind) return outbox.caughtUp
      if (this.#budget <= 0) {
        this.#budget = BATCH
        return Effect.yieldNow
      }
      if (!this.#again) {
        const next = this.#lines.next()
        if (next === Next.More) {
          // An idle client keeps no order of long ago in memory.
          this.#roster = Roster.empty
          return undefined
        }
        if (next === Next.TooLong) {
          this.#look()
          return this.#end("line too long", this.#error("line too long"))
        }
      }
      this.#again = false
      this.#look()
      const wait = this.#do()
      if (wait !== undefined) return wait
    }
    return undefined
  }

  /**
   * Takes the last place of a group, and gives up the one it had: the same
   * member, with the same name. Why not, where it cannot: nothing has changed then.
   * It is not interrupted: whatever seat there is, the client has it when it leaves.
   */
  enter(name = this.#home, asked?: string): Effect.Effect<Reason | undefined> {
    const enter = Effect.gen({ self: this }, function* () {
      const { groups, name: only } = this.#client.grant!
      if ((groups !== undefined && !groups.includes(name)) || this.#isOthers(asked)) return "not authorized"
      const called = only ?? asked
      const old = this.#seat
      if (old === undefined && this.#shared.draining) return "shutting down"
      const as = { id: old?.member.id, name: called ?? (old && this.#memberNow(old)?.name) }
      const scope = yield* Scope.fork(this.#shared.places.scope)
      const { told } = this.#client
      this.#client.told = NOT_TOLD
      const group = yield* Scope.provide(this.#shared.groups.enter(name), scope)
      const joined = yield* Effect.result(Scope.provide(group.ranks.join(this.#client, as), scope))
      if (joined._tag === "Failure") {
        this.#client.told = told
        yield* Scope.close(scope, Exit.void)
        return joined.failure._tag === "GroupFull" ? "server full" : "name taken"
      }
      yield* this.#giveUp(old)
      yield* this.#sit({ group, member: joined.success, scope }, "joined")
      return undefined
    })
    return Effect.uninterruptible(enter)
  }

  /** Takes over the place that the secret is for, as the member that had it; whether there is one. */
  #resume(secret: string): Effect.Effect<boolean> {
    const take = Effect.fnUntraced({ self: this }, function* ({ group, member, scope }: Seat) {
      yield* this.#giveUp(this.#seat)
      this.#client.told = NOT_TOLD
      const resumed = yield* group.ranks.replace(member.id, this.#client)
      yield* this.#sit({ group, member: resumed!, scope }, "resumed")
    })
    return Effect.uninterruptible(this.#shared.places.claim(this.#client, secret, take))
  }

  #giveUp(seat: Seat | undefined): Effect.Effect<void> {
    if (seat === undefined) return Effect.void
    return Effect.map(Scope.close(seat.scope, Exit.void), () => seat.group.announcer.changed())
  }

  /** The seat is the client's from now on; it is told its rank. */
  #sit(seat: Seat, how: "joined" | "resumed"): Effect.Effect<void> {
    const { group, member } = seat
    const client = this.#client
    const again = client.member !== undefined && how === "joined"
    this.#seat = seat
    client.member = memberId(member)
    client.told = NOT_TOLD
    const roster = group.ranks.snapshot()
    group.announcer.tell(member, Roster.rankOf(roster, member.id)!, roster)
    // A member may go from group to group as often as it likes.
    const log = again ? Effect.logDebug(how) : Effect.logInfo(how)
    return Effect.annotateLogs(log, {
      member: client.member,
      group: group.name,
      address: client.address
    })
  }

  /** The group of a client that asks for none. */
  get #home(): string {
    const { groups } = this.#client.grant!
    return groups === undefined || groups.includes(DEFAULT_GROUP) ? DEFAULT_GROUP : groups[0]!
  }

  /** Whether the client may not have this name. */
  #isOthers(name: string | undefined): boolean {
    const { name: only } = this.#client.grant!
    return name !== undefined && only !== undefined && name !== only
  }

  #memberNow({ group, member }: Seat): Roster.Member<Client> | undefined {
    return Roster.byId(group.ranks.snapshot(), member.id)
  }

  /** Looks at the order as it is now; whatever this client is told next, its rank it is told before. */
  #look(): void {
    const seat = this.#seat
    if (seat === undefined) return
    const roster = seat.group.ranks.snapshot()
    if (roster === this.#roster) return
    this.#roster = roster
    this.#rank = Roster.rankOf(roster, seat.member.id)!
    seat.group.announcer.tell(seat.member, this.#rank, roster)
  }

  #do(): Step {
    const { bytes, control, end, start, wide } = this.#lines
    this.#budget--
    const json = bytes[start] === OPEN_BRACE
    if (json) this.#client.encoding = "json"
    if (this.#first) {
      this.#first = false
      // However malformed it is otherwise.
      if (isHttp(bytes, start, end)) return this.#end("http")
    }
    // In JSON it is for its parser to say: encoders leave DEL as it is.
    if ((control && !json) || (wide && !isUtf8(bytes.subarray(start, end)))) {
      return this.#reject("malformed", "a line is UTF-8 without control characters")
    }
    if (this.#seat !== undefined && exec.scan(bytes, start, end)) {
      const { command, everyone, first, idEnd, idStart, last } = exec
      if (this.#checked && this.#barred(Buffer.from(bytes.subarray(idStart, idEnd)).toString())) return undefined
      if (idEnd > idStart) return this.#tracked(this.#seat, bytes, end)
      const { draining, router } = this.#shared
      if (!everyone && first === last && first > this.#rank && first < Roster.size(this.#roster) && !draining) {
        return this.#delivered(
          router.deliverToOne(this.#seat.group, this.#roster, this.#rank, first, bytes, start, command, end),
          first,
          last
        )
      }
      const to = everyone ? ({ _tag: "Everyone" } as const) : ({ _tag: "Range", first, last } as const)
      return this.#route(this.#seat, reach(this.#roster, this.#rank, to), bytes, command, end)
    }
    if (this.#seat !== undefined && result.scan(bytes, start, end)) {
      this.#spendTracked()
      return this.#held(this.#shared.commands.reportResult(this.#client, result, bytes, end))
    }
    this.#budget -= LINE_COST
    const line = utf8.decode(bytes.subarray(start, end))
    const said = json ? jsonCodec.decodeClient(line) : textCodec.decodeClient(line)
    if (this.#client.grant === undefined) return this.#stranger(Result.getOrUndefined(said))
    if (said._tag === "Success") return this.#answer(said.success)
    const { detail, id, reason } = said.failure
    return this.#reject(reason, detail, id)
  }

  /** What a client may say that has shown no token yet. */
  #stranger(message: ClientMessage | undefined): Step {
    if (message?._tag === "Quit") return this.#answer(message)
    const token = message?._tag === "Auth" || message?._tag === "Hello" ? message.token : undefined
    if (message === undefined || token === undefined) {
      // Who does not read has no more time for that than others have.
      if (this.#client.outbox.pending > MAX_STRANGERS_PENDING) return this.#end("slow consumer")
      return this.#reject("not authorized", "say AUTH <token> first", message?._tag === "Exec" ? message.id : undefined)
    }
    const { gate, settings } = this.#shared
    return Effect.gen({ self: this }, function* () {
      const wrong = yield* gate.authenticate(this.#client, token)
      if (wrong !== undefined) return this.#end("not authorized", this.#error("not authorized", wrong))
      this.letIn()
      if (message._tag === "Hello") return yield* this.#hello(message) ?? Effect.void
      if (settings.admission !== "connect") return
      const refused = yield* this.enter()
      if (refused !== undefined) this.#notAdmitted(refused)
    })
  }

  /** What anybody may say, ranked or not; for the rest one has to be ranked. */
  #answer(message: ClientMessage): Step {
    const client = this.#client
    switch (message._tag) {
      case "Hello":
        // The first is how a program begins.
        return (this.#greeted ? this.#mayChange() : undefined) ?? this.#hello(message)
      case "Join":
        return this.#mayChange() ?? this.#join(message.group)
      case "Ping": {
        const pong = client.write({ ...message, _tag: "Pong" })
        // As JSON it can be longer than what it answers.
        if (Buffer.byteLength(pong) >= this.#shared.settings.maxLine) {
          return this.#reject("malformed", "the answer would be longer than a line may be")
        }
        client.outbox.appendLine(pong)
        return undefined
      }
      case "Pong":
        return undefined
      case "Help":
        for (const text of helpTexts) client.say({ _tag: "Help", text })
        return undefined
      case "Auth":
        return this.#reject(
          "not authorized",
          client.granted === EVERYTHING ? "this server asks for no token" : "you have shown one already"
        )
      case "Quit":
        return this.#end("quit", { _tag: "Bye", reason: "quit" })
      default:
        if (this.#seat === undefined) {
          const id = message._tag === "Exec" ? message.id : undefined
          return this.#reject("not authorized", "say JOIN or Hello first", id)
        }
        return this.#answerRanked(this.#seat, message)
    }
  }

  #answerRanked(
    seat: Seat,
    message: Exclude<ClientMessage, { _tag: "Hello" | "Join" | "Auth" | "Ping" | "Pong" | "Help" | "Quit" }>
  ): Step {
    const { announcer } = seat.group
    const client = this.#client
    switch (message._tag) {
      case "Exec":
        return this.#command(seat, message)
      case "Cancel": {
        const command = client.commands.get(message.id)
        // Not `ERROR#`: that is the end of a command, and this one may just have had its own.
        if (command === undefined) return this.#reject("no such command", message.id)
        this.#shared.commands.cancel(command)
        return undefined
      }
      case "Output":
      case "Result": {
        return this.#held(this.#shared.commands.report(client, message))
      }
      case "Explain":
        return this.#explain(reach(this.#roster, this.#rank, message.to))
      case "Ranks":
        client.outbox.appendListing(listing(this.#roster, client.encoding))
        return undefined
      case "Whois": {
        const rank = rankOf(this.#roster, message.who)
        if (rank === undefined) return this.#reject("no such member")
        client.say({ _tag: "Member", ...listed(this.#roster, rank) })
        return undefined
      }
      case "Watch":
        announcer.watch(client)
        client.outbox.appendListing(listing(this.#roster, client.encoding))
        return undefined
      case "Unwatch":
        announcer.unwatch(client)
        return undefined
      case "Name":
        return (
          this.#mayChange() ??
          Effect.map(this.#rename(seat, message.name), (failed) => {
            if (failed !== undefined) this.#notAdmitted(failed)
          })
        )
      case "Yield":
        return this.#mayChange() ?? this.#stepDown(seat)
    }
  }

  /**
   * What is to be done before this client changes the order, which watchers are told:
   * wait for one of them that does not keep up, as with commands; or nothing at all,
   * where it has no command left to give in this second.
   */
  #mayChange(): Step {
    if (this.#seat === undefined) return undefined
    const congested = this.#seat.group.announcer.congested()
    if (congested !== undefined) return this.#held(congested)
    return this.#overRate(undefined) ? Effect.void : undefined
  }

  #hello({ group, heartbeat, name, protocol, resume }: ClientMessage & { _tag: "Hello" }): Step {
    this.#greeted = true
    if (protocol !== PROTOCOL) return this.#reject("malformed", `this server speaks protocol ${PROTOCOL}`)
    return Effect.gen({ self: this }, function* () {
      const resumed = resume !== undefined && (yield* this.#resume(resume))
      const failed = resumed ? undefined : yield* this.#settle(group, name)
      if (failed !== undefined) return this.#notAdmitted(failed)
      // The same secret again, not a new one: the client might never hear of that, and could not come back.
      this.#welcome(heartbeat, resumed ? resume : yield* this.#shared.places.issue(this.#client))
    })
  }

  /** Is in the group that is asked for, by the name that is asked for; or why not. */
  #settle(group: string | undefined, name: string | undefined): Effect.Effect<Reason | undefined> {
    const seat = this.#seat
    if (seat === undefined || (group ?? seat.group.name) !== seat.group.name) {
      return this.enter(group, name)
    }
    return name === undefined ? Effect.undefined : this.#rename(seat, name)
  }

  #rename({ group, member }: Seat, name: string): Effect.Effect<Reason | undefined> {
    if (this.#isOthers(name)) return Effect.succeed("not authorized")
    return Effect.match(group.ranks.rename(member.id, name), {
      onFailure: () => "name taken" as const,
      onSuccess: () => {
        group.announcer.changed()
        return undefined
      }
    })
  }

  #welcome(heartbeat: number | undefined, resume: string | undefined): undefined {
    this.#look()
    const { group, member } = this.#seat!
    const { epoch } = this.#roster
    this.#client.say({
      _tag: "Welcome",
      protocol: PROTOCOL,
      server: this.#shared.server,
      member: memberId(member),
      group: group.name,
      rank: this.#rank,
      size: Roster.size(this.#roster),
      epoch,
      ...(resume === undefined ? {} : { resume }),
      maxLine: this.#shared.settings.maxLine,
      heartbeat: this.#shared.liveness.watch(this.#client, heartbeat)
    })
  }

  /** Another group, or a new admission to this one. */
  #join(name: string): Effect.Effect<void> {
    const seat = this.#seat
    if (seat?.group.name === name) return this.#stepDown(seat)
    return Effect.map(this.enter(name), (failed) => {
      if (failed !== undefined) this.#notAdmitted(failed)
    })
  }

  /**
   * Says why it is not where, or who, it asked to be. Who has a rank keeps it; a newcomer
   * to a full group, or to a server that stops, is closed.
   */
  #notAdmitted(reason: Reason): undefined {
    if (reason === "not authorized") return this.#reject(reason, NOT_GRANTED)
    if (this.#seat !== undefined || (reason !== "server full" && reason !== "shutting down"))
      return this.#reject(reason)
    this.#end(reason, this.#error(reason))
  }

  #stepDown({ group, member }: Seat): Effect.Effect<void> {
    return Effect.map(group.ranks.stepDown(member.id), () => {
      this.#look()
      group.announcer.changed()
    })
  }

  /** An `EXEC` that is more than the scanner reads: to a name, guarded, or tracked. */
  #command(seat: Seat, message: ClientMessage & { _tag: "Exec" }): Step {
    const { command, epoch, id, member, timeout, to } = message
    const { maxCommandTimeout } = this.#shared.settings
    const reached = reach(this.#roster, this.#rank, to)
    const bytes = Buffer.from(command)
    if (this.#checked && this.#barred(id)) return undefined
    if (epoch !== undefined && epoch !== this.#roster.epoch) return this.#reject("stale epoch", undefined, id)
    if (member !== undefined && !this.#isOnly(member, reached)) {
      return this.#reject("stale epoch", `${member} alone does not stand there`, id)
    }
    if (id === undefined) return this.#route(seat, reached, bytes, 0, bytes.length)
    const longest = Duration.toMillis(maxCommandTimeout)
    if (timeout !== undefined && timeout > longest) {
      return this.#reject("malformed", `a command may take ${longest} ms at most`, id)
    }
    const several = to._tag === "Everyone" || to._tag === "Range"
    return this.#track(seat, reached, id, several, timeout ?? this.#timeout, bytes, 0, bytes.length)
  }

  /** Whether the client may not give a command now; it is told so. */
  #barred(id: string | undefined): boolean {
    if (this.#client.grant!.issue) return this.#overRate(id)
    this.#reject("not authorized", "your token may not issue commands", id || undefined)
    return true
  }

  /** Whether the client has done as much as it may in this second; it is told so. */
  #overRate(id: string | undefined): boolean {
    const { rate } = this.#client
    if (rate === undefined || rate.take(this.#shared.outboxes.now())) return false
    this.#reject("rate limited", `${rate.perSecond} commands a second at most`, id || undefined)
    return true
  }

  #spendTracked(): void {
    this.#budget -= TRACKED_COST
    if (++this.#trackedLines % this.#lump === 0) this.#shared.outboxes.touched.flush()
  }

  /** The `EXEC#` that the scanner has read. */
  #tracked(seat: Seat, bytes: Uint8Array, end: number): Step {
    this.#spendTracked()
    const { command, everyone, first, idEnd, idStart, last, range } = exec
    let id = ""
    for (let i = idStart; i < idEnd; i++) id += String.fromCharCode(bytes[i]!)
    const to = everyone ? ({ _tag: "Everyone" } as const) : ({ _tag: "Range", first, last } as const)
    const reached = reach(this.#roster, this.#rank, to)
    return this.#track(seat, reached, id, everyone || range, this.#timeout, bytes, command, end)
  }

  #track(
    seat: Seat,
    reached: Reach,
    id: string,
    several: boolean,
    timeout: number,
    bytes: Uint8Array,
    start: number,
    end: number
  ): Step {
    const { commands } = this.#client
    if (typeof reached !== "string" && !this.#shared.commands.isRoomFor(reached.last - reached.first + 1)) {
      return this.#reject("too many open commands", "of all clients together", id)
    }
    if (commands.has(id)) return this.#reject("duplicate id", undefined, id)
    if (commands.size >= this.#shared.settings.maxOpenCommands) {
      return this.#reject("too many open commands", undefined, id)
    }
    return this.#route(seat, reached, bytes, start, end, { issuer: this.#client, id, several, timeout })
  }

  /** A line that is to be done once more, when there is room for what it says. */
  #held(outbox: Outbox | undefined): Step {
    this.#again = outbox !== undefined
    return outbox?.relief
  }

  /** Whether the member, and nobody else, would be reached. That the issuer may not command it is another matter. */
  #isOnly(member: string, reached: Reach): boolean {
    if (typeof reached === "string") return reached === "rank too high"
    const { first, last } = reached
    return first === last && memberId(Roster.at(this.#roster, first)!) === member
  }

  #route({ group }: Seat, reached: Reach, bytes: Uint8Array, start: number, end: number, tracking?: Tracking): Step {
    if (this.#shared.draining) return this.#reject("shutting down", undefined, tracking?.id)
    if (typeof reached === "string") return this.#reject(reached, undefined, tracking?.id)
    const { first, last } = reached
    const { router } = this.#shared
    const delivered = router.deliver(group, this.#roster, this.#rank, first, last, bytes, start, end, tracking)
    return this.#delivered(delivered, first, last, tracking)
  }

  #delivered(delivered: Delivered, first: number, last: number, tracking?: Tracking): Step {
    const { settings } = this.#shared
    switch (delivered._tag) {
      case "Sent":
        this.#budget -= (last - first) * SHARED_COST
        return undefined
      case "Held":
        // It is counted when it is done once more.
        this.#client.rate?.giveBack()
        this.#again = true
        return delivered.outbox.relief
      case "TooLong":
        return this.#reject("malformed", `a target's line would have more than ${settings.maxLine} bytes`, tracking?.id)
      case "Denied":
        return this.#reject(
          "not authorized",
          `not delivered to ${delivered.denied} of ${last - first + 1}: may not execute`
        )
      case "Missed":
        this.#reject(
          "busy",
          `not delivered to ${delivered.missed} of ${last - first + 1}: being closed, or absent` +
            (delivered.denied === 0 ? "" : `; nor to ${delivered.denied}: may not execute`)
        )
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

  #error(reason: Reason, detail?: string, id?: string): ServerMessage {
    return {
      _tag: "Error",
      reason,
      ...(this.#seat === undefined ? {} : { rank: this.#rank }),
      ...(detail === undefined ? {} : { detail }),
      ...(id === undefined ? {} : { id })
    }
  }

  #reject(reason: Reason, detail?: string, id?: string): undefined {
    this.#budget -= LINE_COST
    this.#client.say(this.#error(reason, detail, id))
  }

  #end(reason: LeaveReason, lastWords?: ServerMessage): undefined {
    this.#client.ending ??= lastWords === undefined ? { reason } : { reason, lastWords }
  }
}
