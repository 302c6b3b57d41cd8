/** The states of a session, and what others may do to it in each. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { type Bearer, EVERYTHING } from "../../../src/server/admission/Access.ts"
import { NO_RANK } from "../../../src/server/Peer.ts"
import { ClientSession, type Open, Seated } from "../../../src/server/session/ClientSession.ts"
import { fakeContext } from "../../support/fakeContext.ts"
import { memoryTransport } from "../outbound/memoryTransport.ts"

const bearer: Bearer = { grant: EVERYTHING, name: undefined, rate: undefined }

const setUp = Effect.fnUntraced(function* () {
  const { context } = yield* fakeContext({ maxLine: 8192 })
  /** A session whose fiber runs until somebody interrupts it. */
  const session = Effect.gen(function* () {
    const { transport, written } = memoryTransport()
    let cut = false
    const fiber = yield* Effect.forkScoped(Effect.never)
    const session = new ClientSession(context, { ...transport, cut: () => (cut = true) }, fiber)
    return { session, fiber, written, isCut: () => cut }
  })
  /** Gives the session a seat, and the state of one. */
  const seat = Effect.fnUntraced(function* (session: ClientSession) {
    const verdict = yield* context.admission.seat({ peer: session, bearer, seat: undefined }, {}, () => () => {})
    assert(verdict._tag === "Seated")
    session.enter(new Seated(verdict.seat, bearer))
    return verdict.seat
  })
  return { context, session, seat }
})

const awaitingSeat = (limit: { deadline: number; cause: "no seat in time" } | undefined = undefined): Open => ({
  _tag: "AwaitingSeat",
  bearer,
  limit
})

describe("a session", () => {
  it.effect("has a line of 4 KiB until it may enter", () =>
    Effect.gen(function* () {
      const { session } = yield* (yield* setUp()).session
      assert.strictEqual(session.maxLine, 4096)
      session.enter({ _tag: "Unauthenticated", deadline: 1000 })
      assert.strictEqual(session.maxLine, 4096)
      session.enter(awaitingSeat())
      assert.strictEqual(session.maxLine, 8192)
    }).pipe(Effect.scoped)
  )

  it.effect("has a deadline while it has shown no token, and for a seat where it was refused one", () =>
    Effect.gen(function* () {
      const { seat, session: opened } = yield* setUp()
      const { session } = yield* opened
      assert.isUndefined(session.deadline)
      session.enter({ _tag: "Unauthenticated", deadline: 1000 })
      assert.strictEqual(session.deadline, 1000)
      session.enter(awaitingSeat())
      assert.isUndefined(session.deadline)
      session.enter(awaitingSeat({ deadline: 2000, cause: "no seat in time" }))
      assert.strictEqual(session.deadline, 2000)
      yield* seat(session)
      assert.isUndefined(session.deadline)
    }).pipe(Effect.scoped)
  )

  it.effect("executes commands where its bearer may", () =>
    Effect.gen(function* () {
      const { session } = yield* (yield* setUp()).session
      session.enter({ ...awaitingSeat(), bearer: { ...bearer, grant: { issue: true, execute: false } } } as Open)
      assert.isFalse(session.executes)
    }).pipe(Effect.scoped)
  )

  it.effect("keeps the first cause of its end, and the state that it was in", () =>
    Effect.gen(function* () {
      const { session } = yield* (yield* setUp()).session
      session.enter(awaitingSeat())
      session.close("no name in the certificate", "for the operator")
      session.close("quit")
      session.disconnect("token revoked")
      const cause = "no name in the certificate"
      assert.deepStrictEqual(session.state, { _tag: "Closing", cause, detail: "for the operator", was: awaitingSeat() })
      assert.isFalse(session.send({ _tag: "Pong" }))
    }).pipe(Effect.scoped)
  )

  it.effect("that others disconnect ends after the present batch, and can be written to no more at once", () =>
    Effect.gen(function* () {
      const { fiber, session } = yield* (yield* setUp()).session
      session.disconnect("token revoked")
      assert.isFalse(session.send({ _tag: "Pong" }))
      assert.isUndefined(fiber.pollUnsafe())
      assert.isTrue(Exit.isFailure(yield* Fiber.await(fiber)))
      yield* session.ended
    }).pipe(Effect.scoped)
  )

  it.effect("that closes by itself is not interrupted", () =>
    Effect.gen(function* () {
      const { fiber, isCut, session } = yield* (yield* setUp()).session
      session.close("quit")
      session.disconnect("token revoked")
      yield* Effect.yieldNow
      assert.isUndefined(fiber.pollUnsafe())
      assert.isFalse(isCut())
    }).pipe(Effect.scoped)
  )

  it.effect("is cut off at once when it speaks HTTP", () =>
    Effect.gen(function* () {
      const { isCut, session } = yield* (yield* setUp()).session
      session.close("http")
      assert.isTrue(isCut())
    }).pipe(Effect.scoped)
  )

  it.effect("gives its seat out once, and only when it ends", () =>
    Effect.gen(function* () {
      const { seat, session: opened } = yield* setUp()
      const { session } = yield* opened
      const its = yield* seat(session)
      assert.isUndefined(session.releaseSeat())
      session.close("quit")
      assert.strictEqual(session.releaseSeat(), its)
      assert.isUndefined(session.releaseSeat())
      assert.isTrue(session.state._tag === "Closing" && session.state.cause === "quit")
    }).pipe(Effect.scoped)
  )

  it.effect("has a seat to give up that it got while it was ending", () =>
    Effect.gen(function* () {
      const { seat, session: opened } = yield* setUp()
      const { session } = yield* opened
      session.enter(awaitingSeat())
      session.disconnect("token revoked")
      const its = yield* seat(session)
      assert.isTrue(session.state._tag === "Closing" && session.state.cause === "token revoked")
      assert.strictEqual(session.releaseSeat(), its)
    }).pipe(Effect.scoped)
  )

  it.effect("is leaving from its close on, unless its seat is reserved", () =>
    Effect.gen(function* () {
      const { context, seat, session: opened } = yield* setUp()
      const { session } = yield* opened
      yield* seat(session)
      assert.isFalse(session.leaving)
      session.close("reset")
      assert.isTrue(session.leaving)
      context.reservations.isAbsent = (peer) => peer === session
      assert.isTrue(session.absent)
      assert.isFalse(session.leaving)
    }).pipe(Effect.scoped)
  )

  it.effect("hears of its rank when it looks at the order, once, and forgets the order when it is idle", () =>
    Effect.gen(function* () {
      const { seat, session: opened } = yield* setUp()
      const [above, below] = [(yield* opened).session, yield* opened]
      const { session, written } = below
      const upper = yield* seat(above)
      yield* seat(session)
      const heard = () => {
        session.outbox.flush()
        return written.splice(0).join("")
      }
      const seated = () => {
        const { state } = session
        assert(state._tag === "Seated")
        return state
      }
      session.look()
      assert.deepStrictEqual([seated().rank, heard()], [1, "RANK 1 2 2 m2\n"])
      const { roster } = seated()
      session.look()
      assert.strictEqual(seated().roster, roster)
      yield* upper.group.ranks.stepDown(upper.member.id)
      session.look()
      assert.deepStrictEqual([seated().rank, heard()], [0, "RANK 0 2 3 m2\n"])
      session.forgetOrder()
      assert.notStrictEqual(seated().roster, roster)
      session.look()
      assert.deepStrictEqual([seated().rank, heard()], [0, ""])
    }).pipe(Effect.scoped)
  )

  it.effect("has commands to issue that go on without it", () =>
    Effect.gen(function* () {
      const { context, session: opened } = yield* setUp()
      const { session } = yield* opened
      const issuer = session.issuer()
      assert.strictEqual(session.issuer(), issuer)
      const command = context.commands.open(issuer, "x", false, 1000, 1)
      session.orphanCommands()
      assert.isUndefined(command.issuer)
      assert.strictEqual(issuer.open.size, 0)
      assert.notStrictEqual(session.issuer(), issuer)
      assert.strictEqual(session.lastRankSent, NO_RANK)
    }).pipe(Effect.scoped)
  )
})
