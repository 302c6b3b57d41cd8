/** Tokens, bearers and the clients that have yet to show one: peers without sessions. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import { fakeContext } from "../../support/fakeContext.ts"
import { fakePeer } from "../../support/fakePeer.ts"

const grants = new Map<string, Grant>([
  ["all", { issue: true, execute: true }],
  ["worker", { issue: true, execute: true, name: "worker" }]
])

let changed: (holds: (grant: Grant) => boolean) => void = () => {}

/** Tokens that are words. */
const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(grants.get(token)),
  observe: (observer) =>
    Effect.sync(() => {
      changed = observer
    })
}

const setUp = Effect.fnUntraced(function* (policy: AccessPolicy | undefined = access, maxUnauthenticated = 2) {
  const { context } = yield* fakeContext({ maxUnauthenticated, rate: 7 }, policy)
  const failures: Array<string> = []
  yield* context.events.observe({ authFailed: (_, cause) => failures.push(cause) })
  return { authenticator: context.authenticator, failures }
})

describe("an authenticator", () => {
  it.effect("takes everybody without a token where there is no policy, under the name of the certificate", () =>
    Effect.gen(function* () {
      const { context } = yield* fakeContext()
      const bearer = context.authenticator.greet(fakePeer(), "boss")
      assert.deepStrictEqual(bearer, { grant: { issue: true, execute: true }, name: "boss", rate: undefined })
    }).pipe(Effect.scoped)
  )

  it.effect("gives the bearer of a token its grant, a rate of its own, and the name of the certificate first", () =>
    Effect.gen(function* () {
      const { authenticator, failures } = yield* setUp()
      for (const [token, certificate, name] of [
        ["all", undefined, undefined],
        ["all", "boss", "boss"],
        ["worker", undefined, "worker"],
        ["worker", "worker", "worker"]
      ] as const) {
        const peer = fakePeer()
        assert.isUndefined(authenticator.greet(peer, certificate))
        const bearer = Result.getOrThrow(yield* authenticator.authenticate(peer, token))
        assert.strictEqual(bearer.grant, grants.get(token))
        assert.strictEqual(bearer.name, name)
        assert.strictEqual(bearer.rate?.perSecond, 7)
      }
      assert.deepStrictEqual(failures, [])
    }).pipe(Effect.scoped)
  )

  it.effect.each([
    ["nobody-has-it", undefined, "wrong token"],
    ["worker", "boss", "token for another name"]
  ] as const)("fails after a delay, but as an event at once: %s", ([token, certificate, cause]) =>
    Effect.gen(function* () {
      const { authenticator, failures } = yield* setUp()
      const peer = fakePeer()
      authenticator.greet(peer, certificate)
      const answer = yield* Effect.forkChild(authenticator.authenticate(peer, token), { startImmediately: true })
      assert.deepStrictEqual(failures, [cause])
      yield* TestClock.adjust("99 millis")
      assert.isUndefined(answer.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(yield* Fiber.join(answer), Result.fail(cause))
    }).pipe(Effect.scoped)
  )

  it.effect("disconnects the oldest of too many, and takes no token of it any more", () =>
    Effect.gen(function* () {
      const { authenticator, failures } = yield* setUp()
      const [first, second, third] = [fakePeer(), fakePeer(), fakePeer()]
      for (const peer of [first, second, third]) authenticator.greet(peer, undefined)
      const disconnected = [first, second, third].map((peer) => peer.disconnected)
      assert.deepStrictEqual(disconnected, ["too many unauthenticated", undefined, undefined])
      // At once, and it is no failure of a token.
      assert.deepStrictEqual(yield* authenticator.authenticate(first, "all"), Result.fail("authenticated too late"))
      assert.deepStrictEqual(failures, [])
      assert.isTrue(Result.isSuccess(yield* authenticator.authenticate(second, "all")))
    }).pipe(Effect.scoped)
  )

  it.effect("counts no client that has shown a token, or is gone, among those that have not", () =>
    Effect.gen(function* () {
      const { authenticator } = yield* setUp(access, 1)
      const [first, second, third] = [fakePeer(), fakePeer(), fakePeer()]
      authenticator.greet(first, undefined)
      yield* authenticator.authenticate(first, "all")
      authenticator.greet(second, undefined)
      authenticator.forget(second)
      authenticator.greet(third, undefined)
      assert.deepStrictEqual(
        [first.disconnected, second.disconnected, third.disconnected],
        [undefined, undefined, undefined]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("disconnects all clients whose grants are revoked before anything else is revoked", () =>
    Effect.gen(function* () {
      const { authenticator } = yield* setUp(access, 10)
      const [all, worker, gone, stranger] = [fakePeer(), fakePeer(), fakePeer(), fakePeer()]
      for (const peer of [all, worker, gone, stranger]) authenticator.greet(peer, undefined)
      yield* authenticator.authenticate(all, "all")
      yield* authenticator.authenticate(worker, "worker")
      yield* authenticator.authenticate(gone, "all")
      authenticator.forget(gone)
      const causes = () => [all, worker, gone, stranger].map(({ disconnected }) => disconnected)
      let then: unknown
      yield* authenticator.watchRevocations((holds) => {
        then = [causes(), [...grants.values()].map(holds)]
      })
      changed((grant) => grant !== grants.get("all"))
      assert.deepStrictEqual(then, [
        ["token revoked", undefined, undefined, undefined],
        [false, true]
      ])
    }).pipe(Effect.scoped)
  )
})
