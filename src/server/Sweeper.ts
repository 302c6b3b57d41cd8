/** A pass that is repeated for as long as there is something to do, and costs nothing when there is not. */
import { Effect, Latch, type Scope } from "effect"
import { wakeLater } from "./wakeLater.ts"

export class Sweeper {
  readonly #awake = Latch.makeUnsafe(false)

  /** Has the next pass run. It may be called anywhere, also within a pass. */
  wake(): void {
    wakeLater(() => this.#awake.openUnsafe())
  }

  /** Has no further pass run until the next `wake`. To be called by the pass. */
  rest(): void {
    this.#awake.closeUnsafe()
  }

  /** Repeats `pass`, which sleeps as long as it likes, until the scope closes. */
  run(pass: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.andThen(this.#awake.await, pass))))
  }
}
