/** A client of the library: it leads when it may, sends commands and executes them. It checks the library's promises. */
import { Effect, Fiber, Logger, SubscriptionRef } from "effect"
import { Leader, NodeClient, RankClient } from "../src/index.ts"
import type { Oracle } from "./oracle.ts"
import type { Random } from "./random.ts"

export class Candidate {
  readonly name: string
  /** The epoch under which it leads. */
  leading: number | undefined
  /** Commands that have not ended. */
  open = 0
  busy = true
  /** The rank that it believes it has. */
  rank: () => number | undefined = () => undefined
  readonly #fiber: Fiber.Fiber<unknown, unknown>

  constructor(name: string, port: number, oracle: Oracle, random: Random) {
    this.name = name
    const lead = Leader.whileLeader((epoch) =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          oracle.acts(epoch, name)
          this.leading = epoch
        }),
        () => Effect.never,
        () =>
          Effect.sync(() => {
            oracle.stopped()
            this.leading = undefined
          })
      )
    )
    const program = Effect.gen({ self: this }, function* () {
      const client = yield* RankClient
      this.rank = () => SubscriptionRef.getUnsafe(client.standing)?.rank
      yield* client.handle(({ command }) => Effect.succeed({ status: 0, output: `${command} by ${name}` }))
      yield* Effect.forkScoped(lead)
      for (let count = 0; ; count++) {
        yield* Effect.sleep(20 + random.below(60))
        if (!this.busy) continue
        const command = `${name} ${count} end`
        this.open++
        const asked = Effect.match(client.exec(`${1 + random.below(12)}`, command), {
          onFailure: ({ reason }) => oracle.ended(reason),
          onSuccess: ({ output, status }) => {
            oracle.ended(`${status}`)
            if (status === 0 && !output?.includes(command)) oracle.violate(`${name}: ${output} is not of ${command}`)
          }
        })
        yield* Effect.forkScoped(
          Effect.ensuring(
            asked,
            Effect.sync(() => this.open--)
          )
        )
      }
    })
    this.#fiber = Effect.runFork(
      program.pipe(
        Effect.scoped,
        Effect.provide(NodeClient.layer({ host: "127.0.0.1", port, name })),
        Effect.provide(Logger.layer([])),
        Effect.tapCause((cause) => Effect.sync(() => oracle.violate(`${name} has ended: ${cause}`)))
      )
    )
  }

  stop(): Promise<unknown> {
    return Effect.runPromise(Fiber.interrupt(this.#fiber))
  }
}
