/** The verdicts of admission, and what they leave behind: peers without sessions ask for seats. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as Roster from "../../../src/rank/Roster.ts"
import { type Bearer, EVERYTHING, type Grant } from "../../../src/server/admission/Access.ts"
import type { Applicant, SeatRequest, Verdict } from "../../../src/server/admission/Admission.ts"
import type { Seat } from "../../../src/server/group/Seat.ts"
import { Lease } from "../../../src/server/Lease.ts"
import { RateLimiter } from "../../../src/server/RateLimiter.ts"
import type { SettingsValues } from "../../../src/server/Settings.ts"
import { fakeContext } from "../../support/fakeContext.ts"
import { type FakePeer, fakePeer } from "../../support/fakePeer.ts"

const GRACE = { grace: Duration.seconds(5) }

const bearerOf = (name?: string, groups?: ReadonlyArray<string>): Bearer => {
  const grant: Grant = groups === undefined ? EVERYTHING : { ...EVERYTHING, groups }
  return { grant, name, rate: undefined }
}

const anybody = bearerOf()

const setUp = Effect.fnUntraced(function* (settings: Partial<SettingsValues> = {}) {
  const { context, groups } = yield* fakeContext(settings)
  const { admission, events, outboxes, reservations } = context
  const happened: Array<string> = []
  yield* events.observe({
    joined: (member, name = "-", group) => happened.push(`joined ${member} ${name} ${group}`),
    left: (member, name = "-", group, _, reason) => happened.push(`left ${member} ${name} ${group} ${reason}`),
    named: (member, name, group) => happened.push(`named ${member} ${name} ${group}`),
    resumed: (member, name = "-", group) => happened.push(`resumed ${member} ${name} ${group}`)
  })
  /** Asks for a seat; each announcement is a line of the second result. */
  const ask = Effect.fnUntraced(function* (applicant: Applicant, request: SeatRequest = {}) {
    const announced: Array<string> = []
    const verdict = yield* admission.seat(applicant, request, ({ name }, resumed) => (member, rank, roster) => {
      announced.push(`${name} m${member.id} ${rank}/${Roster.size(roster)}${resumed ? " resumed" : ""}`)
    })
    return { verdict, announced }
  })
  const newcomer = (bearer = anybody, peer = fakePeer("new", outboxes.flushQueue)): Applicant & { peer: FakePeer } => ({
    peer,
    bearer,
    seat: undefined
  })
  /** A client that has a seat now. */
  const seated = Effect.fnUntraced(function* (request: SeatRequest = {}, bearer = anybody) {
    const applicant = newcomer(bearer)
    const { verdict } = yield* ask(applicant, request)
    assert(verdict._tag === "Seated", verdict._tag)
    happened.length = 0
    return { ...applicant, seat: verdict.seat }
  })
  /** The same with a resume token. */
  const resumable = Effect.fnUntraced(function* (request: SeatRequest = {}, bearer = anybody) {
    const applicant = yield* seated(request, bearer)
    const minted = yield* reservations.mint(false)
    assert(minted !== undefined)
    reservations.issue(applicant.peer, bearer, minted)
    return { ...applicant, token: minted.token }
  })
  /** The members of the group, as `m1 ann`. */
  const inGroup = (name: string) =>
    Effect.scoped(
      Effect.map(groups.enter(name), ({ ranks }) => {
        const roster = ranks.snapshot()
        return Roster.slice(roster, 0, Roster.size(roster)).map(({ id, name = "-" }) => `m${id} ${name}`)
      })
    )
  return { context, reservations, happened, ask, newcomer, seated, resumable, inGroup }
})

/** A verdict without the seat itself: the group and the member instead. */
const summary = (verdict: Verdict) => {
  if (verdict._tag !== "Seated") return verdict
  const { resumed, seat } = verdict
  return { _tag: "Seated", group: seat.group.name, member: seat.member.id, name: seat.member.name, resumed }
}

const seatedIn = (group: string, member: number, name?: string) => ({
  _tag: "Seated",
  group,
  member,
  name,
  resumed: false
})

describe("a newcomer", () => {
  it.effect("gets the last seat of the group and under the name that it asks for, and is announced there once", () =>
    Effect.gen(function* () {
      const { ask, happened, newcomer, seated } = yield* setUp()
      yield* seated({ group: "jobs" })
      const { announced, verdict } = yield* ask(newcomer(), { group: "jobs", name: "ann" })
      assert.deepStrictEqual(summary(verdict), seatedIn("jobs", 2, "ann"))
      assert.deepStrictEqual([announced, happened], [["jobs m2 1/2"], ["joined m2 ann jobs"]])
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["default, where it may be in any", undefined, "default"],
    ["default, where it may be in that", ["jobs", "default"], "default"],
    ["the first that it may be in, otherwise", ["jobs", "more"], "jobs"]
  ] as const)("that asks for no group gets %s", ([, groups, group]) =>
    Effect.gen(function* () {
      const { ask, newcomer } = yield* setUp()
      const { verdict } = yield* ask(newcomer(bearerOf(undefined, groups)))
      assert.deepStrictEqual(summary(verdict), seatedIn(group, 1))
    }).pipe(Effect.scoped)
  )

  it.effect("has the name of its token or certificate, whether it asks for it or for none", () =>
    Effect.gen(function* () {
      const { ask, newcomer } = yield* setUp()
      for (const [group, name] of [["one", undefined] as const, ["two", "ann"] as const]) {
        const { verdict } = yield* ask(newcomer(bearerOf("ann")), { group, name })
        assert.deepStrictEqual(summary(verdict), seatedIn(group, group === "one" ? 1 : 2, "ann"))
      }
    }).pipe(Effect.scoped)
  )
})

describe("the verdict for a client without a seat", () => {
  const NOT_AUTHORIZED = { _tag: "Rejected", reason: "not authorized" }
  const NO_SEAT = { _tag: "Waits", cause: "no seat in time", reason: "name taken" }

  it.effect.each([
    ["group that its token is not for", bearerOf(undefined, ["jobs"]), { group: "other" }, NOT_AUTHORIZED],
    ["name that its token is not for", bearerOf("ann"), { name: "eve" }, NOT_AUTHORIZED],
    ["name that another has", anybody, { name: "bob" }, NO_SEAT],
    ["name that another has, while tokens are out", anybody, { name: "bob", token: true }, NO_SEAT],
    ["name that another has, of its token", bearerOf("bob"), {}, { _tag: "Refused", cause: "name taken" }],
    [
      "name of its token, when it asks itself",
      bearerOf("bob"),
      { token: true },
      { _tag: "Refused", cause: "name taken" }
    ],
    ["name of its token, implicitly", bearerOf("bob"), { implicit: true }, { _tag: "Refused", cause: "name taken" }],
    [
      "name of its token, implicitly, while tokens are out",
      bearerOf("bob"),
      { implicit: true, token: true },
      { _tag: "Waits", cause: "name taken" }
    ],
    ["full group", anybody, { full: true }, { _tag: "Refused", cause: "group full" }],
    ["full group, when it asks itself", anybody, { full: true, token: true }, { _tag: "Refused", cause: "group full" }],
    [
      "full group, implicitly, while tokens are out",
      anybody,
      { full: true, implicit: true, token: true },
      { _tag: "Waits", cause: "group full" }
    ],
    ["server that drains", anybody, { drains: true }, { _tag: "Refused", cause: "server shutting down" }],
    [
      "server that drains, implicitly, while tokens are out",
      anybody,
      { drains: true, implicit: true, token: true },
      { _tag: "Refused", cause: "server shutting down" }
    ]
  ] as const)("and a %s", ([, bearer, given, expected]) =>
    Effect.gen(function* () {
      const { drains, full, token, ...request } = { drains: false, full: false, token: false, ...given }
      const { ask, context, happened, inGroup, newcomer, resumable, seated } = yield* setUp({
        ...GRACE,
        maxClients: full ? 1 : 10
      })
      yield* token ? resumable({ name: "bob" }) : seated({ name: "bob" })
      if (drains) context.phase = "draining"
      const { announced, verdict } = yield* ask(newcomer(bearer), request)
      assert.deepStrictEqual<unknown>(verdict, expected)
      assert.deepStrictEqual([announced, happened, yield* inGroup("default")], [[], [], ["m1 bob"]])
    }).pipe(Effect.scoped)
  )

  it.effect("takes no member id: the next that gets a seat has it", () =>
    Effect.gen(function* () {
      const { ask, newcomer, seated } = yield* setUp({ maxClients: 1 })
      yield* seated()
      for (let i = 0; i < 3; i++) yield* ask(newcomer())
      assert.deepStrictEqual(summary((yield* ask(newcomer(), { group: "jobs" })).verdict), seatedIn("jobs", 2))
    }).pipe(Effect.scoped)
  )
})

describe("a member that asks for another group", () => {
  it.effect("keeps its id and its name, and leaves its old group when it has the new seat", () =>
    Effect.gen(function* () {
      const { ask, happened, inGroup, seated } = yield* setUp()
      const ann = yield* seated({ name: "ann" })
      const { announced, verdict } = yield* ask(ann, { group: "jobs" })
      assert.deepStrictEqual(summary(verdict), seatedIn("jobs", 1, "ann"))
      assert.deepStrictEqual(announced, ["jobs m1 0/1"])
      assert.deepStrictEqual(happened, ["joined m1 ann jobs", "left m1 ann default joined another group"])
      assert.deepStrictEqual([yield* inGroup("default"), yield* inGroup("jobs")], [[], ["m1 ann"]])
    }).pipe(Effect.scoped)
  )

  it.effect("keeps the name that it took after its admission", () =>
    Effect.gen(function* () {
      const { ask, seated } = yield* setUp()
      const member = yield* seated()
      yield* ask(member, { name: "eve" })
      assert.deepStrictEqual(summary((yield* ask(member, { group: "jobs" })).verdict), seatedIn("jobs", 1, "eve"))
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["full", "full", {}, "server full"],
    ["where another has its name", "other", {}, "name taken"],
    ["where another has the name that it asks for", "other", { name: "cat" }, "name taken"],
    ["that its token is not for", "forbidden", {}, "not authorized"]
  ] as const)("%s stays where it is", ([, group, more, reason]) =>
    Effect.gen(function* () {
      const { ask, happened, inGroup, seated } = yield* setUp({ maxClients: 2 })
      yield* seated({ group: "full" })
      yield* seated({ group: "full" })
      yield* seated({ group: "other", name: group === "other" && !("name" in more) ? "ann" : "cat" })
      const ann = yield* seated({ group: "home", name: "ann" }, bearerOf(undefined, ["home", "full", "other"]))
      const { announced, verdict } = yield* ask(ann, { group, ...more })
      assert.deepStrictEqual<unknown>(verdict, { _tag: "Rejected", reason })
      assert.deepStrictEqual([announced, happened, yield* inGroup("home")], [[], [], ["m4 ann"]])
    }).pipe(Effect.scoped)
  )

  it.effect("gets there while the server drains", () =>
    Effect.gen(function* () {
      const { ask, context, seated } = yield* setUp()
      const member = yield* seated()
      context.phase = "draining"
      assert.deepStrictEqual(summary((yield* ask(member, { group: "jobs" })).verdict), seatedIn("jobs", 1))
    }).pipe(Effect.scoped)
  )
})

describe("a member that asks for a name", () => {
  it.effect("has it in the seat that it has, and is announced with it", () =>
    Effect.gen(function* () {
      const { ask, happened, seated } = yield* setUp()
      const member = yield* seated()
      const { announced, verdict } = yield* ask(member, { name: "ann" })
      assert.isTrue(verdict._tag === "Seated" && verdict.seat === member.seat)
      assert.deepStrictEqual([announced, happened], [["default m1 0/1"], ["named m1 ann default"]])
    }).pipe(Effect.scoped)
  )

  it.effect("keeps its own where another has the one that it asks for", () =>
    Effect.gen(function* () {
      const { ask, happened, inGroup, seated } = yield* setUp()
      yield* seated({ name: "ann" })
      const member = yield* seated({ name: "bob" })
      const { announced, verdict } = yield* ask(member, { name: "ann" })
      assert.deepStrictEqual<unknown>(verdict, { _tag: "Rejected", reason: "name taken" })
      assert.deepStrictEqual([announced, happened, yield* inGroup("default")], [[], [], ["m1 ann", "m2 bob"]])
    }).pipe(Effect.scoped)
  )

  it.effect("and none, has nothing done", () =>
    Effect.gen(function* () {
      const { ask, happened, seated } = yield* setUp()
      const member = yield* seated({ group: "jobs" })
      const { announced, verdict } = yield* ask(member)
      assert.isTrue(verdict._tag === "Seated" && verdict.seat === member.seat)
      assert.deepStrictEqual([announced, happened], [[], []])
    }).pipe(Effect.scoped)
  )
})

/** The connection of the member is lost. */
const lose = (reservations: Effect.Success<ReturnType<typeof setUp>>["reservations"], peer: FakePeer, seat: Seat) =>
  Effect.map(reservations.leave(peer, seat, "reset"), (reserved) => assert.isTrue(reserved))

describe("the seat of a member with a lease that has lost its connection", () => {
  it.effect("is reserved whatever the reason, if the member has received rank 0", () =>
    Effect.gen(function* () {
      const { reservations, seated } = yield* setUp()
      for (const [told, reason, reserved] of [
        [true, "http", true],
        [true, "slow consumer", true],
        [true, "quit", false],
        [false, "reset", false]
      ] as const) {
        const { peer, seat } = yield* seated({ group: `${reason}` })
        peer.lease = new Lease(2000, 0)
        if (told) peer.lastRankSent = 0
        assert.strictEqual(yield* reservations.leave(peer, seat, reason), reserved, reason)
      }
    }).pipe(Effect.scoped)
  )
})

describe("a client that comes back", () => {
  it.effect("has the seat that was reserved, whatever group and name it asks for", () =>
    Effect.gen(function* () {
      const { ask, happened, inGroup, newcomer, reservations, resumable, seated } = yield* setUp(GRACE)
      const ann = yield* resumable({ group: "jobs", name: "ann" })
      yield* seated({ group: "jobs", name: "bob" })
      yield* lose(reservations, ann.peer, ann.seat)
      const back = newcomer()
      const { announced, verdict } = yield* ask(back, { resume: ann.token, group: "other", name: "zoe" })
      assert.deepStrictEqual(summary(verdict), { ...seatedIn("jobs", 1, "ann"), resumed: true })
      assert.deepStrictEqual([announced, happened], [["jobs m1 0/2 resumed"], ["resumed m1 ann jobs"]])
      assert.deepStrictEqual(yield* inGroup("jobs"), ["m1 ann", "m2 bob"])
      // The seat is the one of before: it is given up by its scope.
      assert(verdict._tag === "Seated")
      yield* Scope.close(verdict.seat.scope, Exit.succeed("quit" as const))
      assert.deepStrictEqual(yield* inGroup("jobs"), ["m2 bob"])
    }).pipe(Effect.scoped)
  )

  it.effect("cannot have a seat whose token is taken back at that moment", () =>
    Effect.gen(function* () {
      const { ask, newcomer, reservations, resumable } = yield* setUp(GRACE)
      const ann = yield* resumable()
      const asking = yield* Effect.forkChild(ask(newcomer(), { resume: ann.token }))
      yield* TestClock.adjust(99)
      ann.peer.disconnect("token revoked")
      ann.peer.leaving = true
      yield* TestClock.adjust(1)
      assert.isFalse(yield* reservations.leave(ann.peer, ann.seat, "kicked"))
      const { verdict } = yield* Fiber.join(asking)
      assert.deepStrictEqual(summary(verdict), seatedIn("default", 2))
    }).pipe(Effect.scoped)
  )

  it.effect("gives up the seat that it got on arrival", () =>
    Effect.gen(function* () {
      const { ask, happened, inGroup, reservations, resumable, seated } = yield* setUp(GRACE)
      const ann = yield* resumable({ group: "jobs" })
      yield* lose(reservations, ann.peer, ann.seat)
      const { verdict } = yield* ask(yield* seated(), { resume: ann.token })
      assert.deepStrictEqual(summary(verdict), { ...seatedIn("jobs", 1), resumed: true })
      assert.deepStrictEqual(happened, ["left m2 - default joined another group", "resumed m1 - jobs"])
      assert.deepStrictEqual(yield* inGroup("default"), [])
    }).pipe(Effect.scoped)
  )

  it.effect("is admitted while the server drains, and where its group is full", () =>
    Effect.gen(function* () {
      const { ask, context, newcomer, reservations, resumable } = yield* setUp({ ...GRACE, maxClients: 1 })
      const ann = yield* resumable()
      yield* lose(reservations, ann.peer, ann.seat)
      context.phase = "draining"
      const { verdict } = yield* ask(newcomer(), { resume: ann.token })
      assert.deepStrictEqual(summary(verdict), { ...seatedIn("default", 1), resumed: true })
    }).pipe(Effect.scoped)
  )

  it.effect("with the token of the seat that it has, has nothing done", () =>
    Effect.gen(function* () {
      const { ask, happened, resumable } = yield* setUp(GRACE)
      const ann = yield* resumable()
      const { announced, verdict } = yield* ask(ann, { resume: ann.token })
      assert.deepStrictEqual(summary(verdict), { ...seatedIn("default", 1), resumed: true })
      assert.isTrue(verdict._tag === "Seated" && verdict.seat === ann.seat)
      assert.deepStrictEqual([announced, happened], [[], []])
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["a token that nobody has", anybody, "no-such-token"],
    ["the token of a bearer with another name", bearerOf("bob"), undefined],
    ["the token of a bearer with other groups", bearerOf(undefined, ["default"]), undefined]
  ] as const)("with %s is a newcomer", ([, bearer, wrong]) =>
    Effect.gen(function* () {
      const { ask, newcomer, reservations, resumable } = yield* setUp(GRACE)
      const ann = yield* resumable()
      yield* lose(reservations, ann.peer, ann.seat)
      const { verdict } = yield* ask(newcomer(bearer), { resume: wrong ?? ann.token })
      assert.deepStrictEqual(summary(verdict), seatedIn("default", 2, bearer.name))
    }).pipe(Effect.scoped)
  )

  it.effect("has the rights that it shows now, and the rate that it had", () =>
    Effect.gen(function* () {
      const { ask, newcomer, reservations, resumable } = yield* setUp(GRACE)
      const before = { ...anybody, rate: new RateLimiter(1) }
      const now = { ...anybody, grant: { issue: false, execute: true }, rate: new RateLimiter(1) }
      const ann = yield* resumable({}, before)
      yield* lose(reservations, ann.peer, ann.seat)
      const { verdict } = yield* ask(newcomer(now), { resume: ann.token })
      assert(verdict._tag === "Seated")
      assert.strictEqual(verdict.bearer.grant, now.grant)
      assert.strictEqual(verdict.bearer.rate, before.rate)
    }).pipe(Effect.scoped)
  )
})
