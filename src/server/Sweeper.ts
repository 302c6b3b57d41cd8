/** Repeats a pass while there is work, and costs nothing while there is none. */
import { Effect, Latch, type Scope } from "effect"
import { wakeLater } from "./wakeLater.ts"

export class Sweeper {
  readonly #awake = Latch.makeUnsafe(false)

  /** Makes the next pass run. Call it anywhere, also within a pass. */
  wake(): void {
    wakeLater(() => this.#awake.openUnsafe())
  }

  /** Stops the passes until the next `wake`. The pass calls it. */
  rest(): void {
    this.#awake.closeUnsafe()
  }

  /** Repeats `pass` until the scope closes. The pass itself sleeps between its work. */
  run(pass: Effect.Effect<void>): Effect.Effect<void, never, Scope.Scope> {
    return Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.andThen(this.#awake.await, pass))))
  }
}
