/** SIGHUP: what the server read at its start, as certificates and tokens, is read again. */
import { Effect, Queue } from "effect"

/** What can be read again while the server runs, and what it is called in the log. */
interface Reloadable {
  readonly what: string
  /** Changes nothing where it fails. */
  readonly reload: Effect.Effect<void, { readonly message: string }>
}

/** Reads it all again on SIGHUP. Without anything to read SIGHUP ends the process, as ever. */
export const reloadOnHangup = Effect.fnUntraced(function* (all: ReadonlyArray<Reloadable>) {
  if (all.length === 0) return
  // One that comes while all is read is kept: what changed meanwhile is not missed. More would change nothing.
  const hangups = yield* Queue.sliding<void>(1)
  const hangup = () => Queue.offerUnsafe(hangups, undefined)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("SIGHUP", hangup)),
    () => Effect.sync(() => process.off("SIGHUP", hangup))
  )
  const reloadAll = Effect.forEach(all, ({ reload, what }) =>
    Effect.matchEffect(reload, {
      onSuccess: () => Effect.annotateLogs(Effect.logInfo("reloaded"), { what }),
      onFailure: ({ message }) =>
        Effect.annotateLogs(Effect.logError(`not reloaded: ${message}. What was read before still holds`), { what })
    })
  )
  yield* Queue.take(hangups).pipe(Effect.andThen(reloadAll), Effect.forever, Effect.forkScoped)
})
