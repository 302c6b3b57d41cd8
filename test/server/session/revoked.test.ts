/** Members whose tokens are revoked at the same moment, as when the token file is reloaded. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { AccessPolicy, Grant } from "../../../src/server/admission/Access.ts"
import { Network, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

/** A policy whose tokens are words, and what the server wants to be called back with. */
const policy = () => {
  const grants = new Map<string, Grant>()
  const observers = new Set<(holds: (grant: Grant) => boolean) => void>()
  const access: AccessPolicy = {
    authenticate: (token) =>
      Effect.sync(() => {
        const grant = grants.get(token) ?? { issue: true, execute: true }
        grants.set(token, grant)
        return grant
      }),
    observe: (changed) => Effect.sync(() => observers.add(changed))
  }
  const revoke = (...tokens: ReadonlyArray<string>) => {
    const revoked = new Set(tokens.map((token) => grants.get(token)))
    for (const changed of observers) changed((grant) => !revoked.has(grant))
  }
  return { access, revoke }
}

/** Members of these names, each with a token of its name. */
const enter = Effect.fnUntraced(function* (...names: ReadonlyArray<string>) {
  const { connect } = yield* Network
  const clients = yield* Effect.forEach(names, (name) =>
    Effect.tap(connect, (client) =>
      Effect.sync(() => client.send(`AUTH ${name}\nNAME ${name}\n`)).pipe(Effect.andThen(settled))
    )
  )
  for (const client of clients) client.lines()
  return Object.fromEntries(names.map((name, i) => [name, clients[i]!]))
})

const loggedSince = (logged: ReadonlyArray<string>, from: number) =>
  logged.slice(from).map((line) => line.replace(/ (?:address|since|epoch)=\S+/g, ""))

describe("members whose tokens are revoked together", () => {
  it.effect("are not promoted first: only the one that stays gets rank 0, and is logged as the leader", () => {
    const { access, revoke } = policy()
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const clients = yield* enter("ann", "bob", "cat", "dan")
      const before = logged.length
      revoke("ann", "bob", "cat")
      yield* transcript(
        `
        ann bob cat  BYE kicked
        ann  (closed)
        bob  (closed)
        cat  (closed)
        dan  RANK 0 1 7 m4
        -- 1 minute
        dan  (nothing)
        `,
        clients
      )
      assert.deepStrictEqual(loggedSince(logged, before), [
        "left member=m1 name=ann group=default reason=kicked",
        "left member=m2 name=bob group=default reason=kicked",
        "left member=m3 name=cat group=default reason=kicked",
        "leader changed member=m4 name=dan group=default"
      ])
    }).pipe(server({}, logged, access))
  })

  it.effect("get no rank by a sweep, or for a command, before they are disconnected", () => {
    const { access, revoke } = policy()
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const clients = yield* enter("ann", "bob", "cat", "dan", "eve")
      const before = logged.length
      revoke("ann", "cat", "eve")
      yield* transcript(
        `
        ann cat eve  BYE kicked
        ann cat eve  (closed)
        bob  RANK 0 4 6 m2
        dan  RANK 1 2 8 m4
        -- 1 minute
        bob dan  (nothing)
        `,
        clients
      )
      const leaders = loggedSince(logged, before).filter((line) => line.startsWith("leader"))
      assert.deepStrictEqual(leaders, ["leader changed member=m2 name=bob group=default"])
    }).pipe(server({}, logged, access))
  })
})
