import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit } from "effect"
import { conflict, defaults, type Limit, limits, Settings } from "../../src/server/Settings.ts"

describe("the table of limits", () => {
  it("has a default within the bounds of each row, and a help text", () => {
    for (const [name, row] of Object.entries<Limit>(limits)) {
      const [least, value, most] = [row.least, row.default, row.most].map((amount) =>
        Duration.isDuration(amount) ? Duration.toMillis(amount) : amount
      )
      assert.isAtMost(least!, value!, name)
      assert.isAtMost(value!, most!, name)
      assert.match(row.help, /^[A-Z].*[^.]$/, name)
    }
  })

  it("gives the defaults", () => {
    assert.strictEqual(defaults.maxClients, 200)
    assert.deepStrictEqual(defaults.grace, Duration.zero)
    assert.strictEqual(defaults.admission, "connect")
    assert.strictEqual(conflict(defaults), undefined)
  })

  it("finds a limit that is too small for another one", () => {
    assert.deepStrictEqual(conflict({ ...defaults, maxLine: 1_000_000 }), {
      limit: "maxPending",
      least: 4_000_000,
      times: 4,
      other: "maxLine"
    })
    assert.strictEqual(conflict({ ...defaults, maxLine: 1_048_576 / 4 }), undefined)
    assert.strictEqual(conflict({ ...defaults, maxPending: 268_435_457 })?.limit, "maxTotalPending")
    assert.deepStrictEqual(conflict({ ...defaults, commandTimeout: Duration.hours(2) }), {
      limit: "maxCommandTimeout",
      least: Duration.hours(2),
      times: 1,
      other: "commandTimeout"
    })
  })
})

describe("Settings.layer", () => {
  it.effect("takes any Duration.Input for a duration, and the default for the rest", () =>
    Effect.gen(function* () {
      const settings = yield* Settings
      assert.deepStrictEqual(settings, {
        ...defaults,
        grace: Duration.seconds(5),
        drain: Duration.millis(250),
        linger: Duration.seconds(1),
        stallTimeout: Duration.minutes(1),
        maxLine: 1024,
        admission: "hello"
      })
    }).pipe(
      Effect.provide(
        Settings.layer({
          grace: "5 seconds",
          drain: 250,
          linger: { seconds: 1 },
          stallTimeout: Duration.minutes(1),
          maxLine: 1024,
          admission: "hello"
        })
      )
    )
  )

  it.effect("fails if a duration is invalid", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.provide(Settings, Settings.layer({ grace: "5 parsecs" as never })))
      assert.isTrue(Exit.isFailure(exit))
    })
  )
})
