/**
 * Signals that `lead` passes on to its command, which is in a process group of its own: a terminal does not reach it, nor does
 * a program that signals `lead` alone.
 */
import { closeSync, openSync } from "node:fs"
import { Effect } from "effect"
import { insteadOf, reloadOnHangup } from "../signals.ts"
import type { Guard } from "./Guard.ts"

/** Whether this process has a controlling terminal, which sends it signals of its own. */
const hasTerminal = (): boolean => {
  try {
    closeSync(openSync("/dev/tty", "r"))
    return true
  } catch {
    return false
  }
}

const listen = (signal: NodeJS.Signals, listener: () => void) =>
  Effect.acquireRelease(
    Effect.sync(() => process.on(signal, listener)),
    () => Effect.sync(() => process.off(signal, listener))
  )

/** Until the scope closes. `notice` tells of a SIGHUP that reaches no command. */
export const passSignalsOn = Effect.fnUntraced(function* (
  guard: Guard,
  notice: (message: string) => Effect.Effect<void>
) {
  // Ctrl-Z stops the command, too. It may be the child of no shell, so SIGTSTP would not stop it.
  yield* listen("SIGTSTP", () => {
    guard.passOn("SIGSTOP")
    process.kill(process.pid, "SIGSTOP")
  })
  yield* listen("SIGCONT", () => guard.passOn("SIGCONT"))
  if (hasTerminal()) return yield* reloadOnHangup(notice("SIGHUP is not passed on: there is a terminal"))
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  yield* insteadOf("SIGHUP", () => {
    if (!guard.passOn("SIGHUP")) fork(notice("no command runs that this signal could reach"))
  })
  yield* insteadOf("SIGUSR2", () => guard.passOn("SIGUSR2"))
  for (const signal of ["SIGUSR1", "SIGWINCH"] as const) yield* listen(signal, () => guard.passOn(signal))
})
