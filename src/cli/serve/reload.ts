/** SIGHUP: the server reloads the files that it read at its start, such as certificates and tokens. */
import { Effect, Queue } from "effect"

/** A file, or several, that the server can reload. */
interface Reloadable {
  /** Its name in the log. */
  readonly what: string
  /** Changes nothing where it fails. */
  readonly reload: Effect.Effect<void, { readonly message: string }>
}

/** Reloads all on SIGHUP. Without anything to reload SIGHUP ends the process, as usual. */
export const reloadOnHangup = Effect.fnUntraced(function* (all: ReadonlyArray<Reloadable>) {
  if (all.length === 0) return
  // One signal that comes during a reload is kept, for what changes meanwhile. More than one would change nothing.
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
        Effect.annotateLogs(Effect.logError(`not reloaded: ${message}. The server keeps what it had`), { what })
    })
  )
  yield* Queue.take(hangups).pipe(Effect.andThen(reloadAll), Effect.forever, Effect.forkScoped)
})
