/** SIGHUP: the server reloads the files that it read at its start, such as certificates and tokens. */
import { Effect } from "effect"
import { reloadOnHangup } from "../signals.ts"

/** A file, or several, that the server can reload. */
interface Reloadable {
  /** Its name in the log. */
  readonly what: string
  /** Changes nothing where it fails. */
  readonly reload: Effect.Effect<void, { readonly message: string }>
}

const reloadAll = (all: ReadonlyArray<Reloadable>) =>
  Effect.forEach(
    all,
    ({ reload, what }) =>
      Effect.matchEffect(reload, {
        onSuccess: () => Effect.annotateLogs(Effect.logInfo("reloaded"), { what }),
        onFailure: ({ message }) =>
          Effect.annotateLogs(Effect.logError(`not reloaded: ${message}. The server keeps what it had`), { what })
      }),
    { discard: true }
  )

export const reloadFiles = (all: ReadonlyArray<Reloadable>) =>
  reloadOnHangup(all.length === 0 ? Effect.logInfo("nothing to reload") : reloadAll(all))
