/**
 * How signals end this process. The first one interrupts the command, which then has time to end in order; a second SIGINT or
 * SIGTERM ends the process at once.
 *
 * Invariants: a command that a signal has interrupted ends by that signal, so that a shell stops its loop or script; a service,
 * which only a signal ends, exits with 0. What was printed is flushed before the end, for a second at most. No signal is
 * lost that comes before the command can act on it.
 */
import { constants } from "node:os"
import { isatty } from "node:tty"
import { Cause, Effect, Exit, Queue, Runtime } from "effect"
import { flush } from "./output/output.ts"

const STOPPING = ["SIGINT", "SIGTERM", "SIGHUP"] as const

/** Under `npm start` a Ctrl-C comes twice, from the terminal and from npm, faster than a person can repeat it. */
const SAME_SIGNAL_MS = 100

/** The state of this process. */
const state = {
  first: undefined as { readonly signal: NodeJS.Signals; readonly at: number } | undefined,
  isService: false,
  interrupt: (): void => {},
  /** What SIGINT does instead. */
  onInterrupt: undefined as (() => void) | undefined,
  /** What SIGHUP does without a terminal; undefined until the command decides. */
  onHangup: undefined as (() => void) | undefined,
  /** SIGHUP came before that. */
  isHungUp: false
}

/** Whether this process has begun on a terminal: `nohup` and systemd leave it none. A closed terminal is no terminal any more. */
const onTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor))

/** The signal that stops this process, if one does. */
export const stoppedBy = (): NodeJS.Signals | undefined => state.first?.signal

/** From now on a signal is the usual end of this process, and counts as success. */
export const asService: Effect.Effect<void> = Effect.sync(() => {
  state.isService = true
})

/** Ends the command in order, with success: it has nothing left to do. */
export const stop = (): void => state.interrupt()

/** Calls `interrupted` for each SIGINT until the scope closes: where Ctrl-C is such a signal, and does not stop the command. */
export const onInterrupt = (interrupted: () => void) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      state.onInterrupt = interrupted
    }),
    () =>
      Effect.sync(() => {
        state.onInterrupt = undefined
      })
  )

const decideHangup = (onHangup: () => void): void => {
  state.onHangup = onHangup
  if (!state.isHungUp) return
  state.isHungUp = false
  onHangup()
}

/** For commands that SIGHUP stops, on a terminal or not. */
export const stopOnHangup: Effect.Effect<void> = Effect.sync(() => decideHangup(() => stopBy("SIGHUP")))

/**
 * Runs `reload` on SIGHUP until the scope closes. On a terminal SIGHUP says that the terminal was closed, and stops this
 * process.
 */
export const reloadOnHangup = Effect.fnUntraced(function* <R>(reload: Effect.Effect<void, never, R>) {
  if (onTerminal) return
  // One signal that comes during a reload is kept, for what changes meanwhile. More than one would change nothing.
  const hangups = yield* Queue.sliding<void>(1)
  yield* Effect.acquireRelease(
    Effect.sync(() => decideHangup(() => Queue.offerUnsafe(hangups, undefined))),
    () =>
      Effect.sync(() => {
        state.onHangup = () => {}
      })
  )
  yield* Queue.take(hangups).pipe(Effect.andThen(reload), Effect.forever, Effect.forkScoped)
})

const stopBy = (signal: NodeJS.Signals): void => {
  const { first } = state
  const now = performance.now()
  if (first === undefined) {
    state.first = { signal, at: now }
    state.interrupt()
    return
  }
  // The shell repeats the SIGHUP of a terminal that is closed.
  const isCopy =
    signal === "SIGHUP" || (signal === "SIGINT" && first.signal === signal && now - first.at < SAME_SIGNAL_MS)
  if (isCopy) return
  if (state.isService) process.exit(128 + constants.signals[signal])
  endBy(signal)
}

const received = (signal: NodeJS.Signals): void => {
  const { onHangup, onInterrupt } = state
  if (signal === "SIGHUP" && !onTerminal) {
    if (onHangup === undefined) state.isHungUp = true
    else onHangup()
  } else if (signal === "SIGINT" && onInterrupt !== undefined) {
    onInterrupt()
  } else {
    stopBy(signal)
  }
}

/** Until the scope closes, these signals stop the command in order, too. */
export const stopOn = (signals: ReadonlyArray<NodeJS.Signals>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      for (const signal of signals) process.on(signal, received)
    }),
    () =>
      Effect.sync(() => {
        for (const signal of signals) process.off(signal, received)
      })
  )

/** Ends this process as if it had never listened to the signal. */
const endBy = (signal: NodeJS.Signals): never => {
  process.removeAllListeners(signal)
  // After everything else that is to happen at the exit.
  process.on("exit", () => process.kill(process.pid, signal))
  // The system keeps the first process of a container from such an end.
  process.exit(128 + constants.signals[signal])
}

/** What a terminal does when it is closed. Its end may be seen before its signal comes. */
export const hangUp = (): void => stopBy("SIGHUP")

/** Runs a command as this process. */
export const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  state.interrupt = () => fiber.interruptUnsafe(fiber.id)
  for (const signal of STOPPING) process.on(signal, received)
  fiber.addObserver((exit) =>
    teardown(exit, (status) => {
      const end = Effect.sync(() => {
        const signal = stoppedBy()
        const isInterrupted = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
        const isUsual = state.isService && STOPPING.some((stopping) => stopping === signal)
        if (isInterrupted && signal !== undefined && !isUsual) endBy(signal)
        process.exit(status)
      })
      Effect.runFork(Effect.andThen(flush, end))
    })
  )
})

/** Acts on signals that came before `runMain`. */
export const replay = (signals: ReadonlyArray<NodeJS.Signals>): void => {
  for (const signal of signals) received(signal)
}
