/** Lines that other clients cause, on standard output. Bounds the memory that they take when nobody reads. */
import { Console, Effect } from "effect"

/** How much may wait for a reader of standard output. Lines beyond it are dropped. */
const MAX_UNREAD_BYTES = 1024 * 1024

let dropped = 0

/** Prints a line, unless too much waits already. Reports how many lines were dropped with the next line that fits. */
export const printBounded = (line: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (process.stdout.writableLength > MAX_UNREAD_BYTES) {
      dropped++
      return Effect.void
    }
    const report = dropped === 0 ? Effect.void : Console.error(`rankd: dropped ${dropped} lines that nobody read`)
    dropped = 0
    return Effect.andThen(report, Console.log(line))
  })
