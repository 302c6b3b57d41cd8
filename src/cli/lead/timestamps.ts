/** The time in front of each message on standard error: `lead` runs for long, and its log is read later. */
import { Console, DateTime, Effect } from "effect"

const PREFIX = "rankd: "

const stamped = (asJson: boolean, time: string, message: string): string => {
  if (asJson) return message.startsWith("{") ? `{"time":"${time}",${message.slice(1)}` : message
  return message.startsWith(PREFIX) ? `${PREFIX}${time} ${message.slice(PREFIX.length)}` : message
}

/** Runs the effect with a console that adds the time. */
export const withTimestamps = <A, E, R>(asJson: boolean, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const console = yield* Console.Console
    return yield* Effect.provideService(effect, Console.Console, {
      ...console,
      error: (message: unknown, ...more: ReadonlyArray<unknown>) =>
        console.error(stamped(asJson, DateTime.formatIso(DateTime.nowUnsafe()), `${message}`), ...more)
    })
  })
