/**
 * How signals end this process. The first one interrupts the command, which then has time to end in order; a second SIGINT or
 * SIGTERM ends the process at once.
 *
 * Invariants: a command that a signal has interrupted ends by that signal, so that a shell stops its loop or script; a service,
 * which only a signal ends, exits with 0; `endWith` names another status. What was printed is flushed before the end, for a
 * second at most.
 */
import { constants } from "node:os"
import { isatty } from "node:tty"
import { Cause, Effect, Exit, Queue, Runtime } from "effect"
import { flush } from "./output/output.ts"

const STOPPING = ["SIGINT", "SIGTERM", "SIGHUP"] as const

type Stopping = NodeJS.Signals

/** Under `npm start` a Ctrl-C comes twice, from the terminal and from npm, faster than a person can repeat it. */
const SAME_SIGNAL_MS = 100

/** The state of this process. */
const state = {
  first: undefined as { readonly signal: Stopping; readonly at: number } | undefined,
  isService: false,
  /** The status with which the command ends after a signal, if it does not end by that signal. */
  status: undefined as number | undefined,
  interrupt: (): void => {},
  /** What a signal does instead of stopping the command. */
  instead: {} as { [signal in Stopping]?: () => void }
}

/** Whether this process has begun on a terminal: `nohup` and systemd leave it none. A closed terminal is no terminal any more. */
const onTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor))

/** The signal that stops this process, if one does. */
export const stoppedBy = (): Stopping | undefined => state.first?.signal

/** From now on a signal is the usual end of this process, and counts as success. */
export const asService: Effect.Effect<void> = Effect.sync(() => {
  state.isService = true
})

/** Ends the command in order, with success: it has nothing left to do. */
export const stop = (): void => state.interrupt()

/** After a signal this process ends with this status, and not by the signal. */
export const endWith = (status: number): void => {
  state.status = status
}

/** These signals stop this process, too, until the scope closes. */
export const stopOn = (signals: ReadonlyArray<Stopping>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      for (const signal of signals) process.on(signal, received)
    }),
    () =>
      Effect.sync(() => {
        for (const signal of signals) process.off(signal, received)
      })
  )

/** Calls `act` for each such signal until the scope closes: where the signal does not stop the command. */
export const insteadOf = (signal: Stopping, act: () => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      state.instead[signal] = act
    }),
    () =>
      Effect.sync(() => {
        delete state.instead[signal]
      })
  )

/** Calls `interrupted` for each SIGINT until the scope closes: where Ctrl-C is such a signal. */
export const onInterrupt = (interrupted: () => void) => insteadOf("SIGINT", interrupted)

/**
 * Runs `reload` on SIGHUP until the scope closes. On a terminal SIGHUP says that the terminal was closed, and stops this
 * process.
 */
export const reloadOnHangup = Effect.fnUntraced(function* <R>(reload: Effect.Effect<void, never, R>) {
  if (onTerminal) return
  // One signal that comes during a reload is kept, for what changes meanwhile. More than one would change nothing.
  const hangups = yield* Queue.sliding<void>(1)
  yield* insteadOf("SIGHUP", () => Queue.offerUnsafe(hangups, undefined))
  yield* Queue.take(hangups).pipe(Effect.andThen(reload), Effect.forever, Effect.forkScoped)
})

const received = (signal: Stopping): void => {
  const { first } = state
  const instead = state.instead[signal]
  if (instead !== undefined) {
    instead()
    return
  }
  const now = performance.now()
  if (first === undefined) {
    state.first = { signal, at: now }
    state.interrupt()
    return
  }
  // The shell repeats the SIGHUP of a terminal that is closed.
  const isCopy =
    signal === "SIGHUP" || (signal === "SIGINT" && first.signal === signal && now - first.at < SAME_SIGNAL_MS)
  if (!isCopy) process.exit(128 + constants.signals[signal])
}

/** How long the system may take to end this process by a signal, in milliseconds. */
const ENDING_MS = 100

/** Ends this process as if it had never listened to the signal. */
const endBy = (signal: Stopping): void => {
  // The system keeps the first process of a container from such an end.
  const isFirst = process.pid === 1
  if (!isFirst) {
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  }
  setTimeout(() => process.exit(128 + constants.signals[signal]), isFirst ? 0 : ENDING_MS)
}

/** What a terminal does when it is closed. Its end may be seen before its signal comes. */
export const hangUp = (): void => received("SIGHUP")

/** Runs a command as this process. */
export const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  state.interrupt = () => fiber.interruptUnsafe(fiber.id)
  for (const signal of STOPPING) process.on(signal, received)
  fiber.addObserver((exit) =>
    teardown(exit, (status) => {
      const end = Effect.sync(() => {
        const signal = stoppedBy()
        const isInterrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
        const isEndedBySignal = isInterrupted && !state.isService && state.status === undefined
        if (signal !== undefined && isEndedBySignal) endBy(signal)
        else process.exit(isInterrupted ? (state.status ?? status) : status)
      })
      Effect.runFork(Effect.andThen(flush, end))
    })
  )
})
