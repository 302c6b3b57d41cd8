/** Checks that a path exists. Does not read the file. */
import { Effect, FileSystem, Option } from "effect"

type Type = "File" | "Directory"

/**
 * What is wrong with a path; undefined if nothing is. `source` is the flag or the variable that names it. A path that
 * cannot be looked at passes: whatever opens it reports why.
 */
export const pathError = Effect.fnUntraced(function* (source: string, path: string, type: Type) {
  const { stat } = yield* FileSystem.FileSystem
  const noun = type === "File" ? "file" : "folder"
  const found = yield* Effect.asSome(stat(path)).pipe(
    Effect.catchTag("PlatformError", ({ reason }) =>
      Effect.succeed(reason._tag === "NotFound" ? Option.none() : undefined)
    )
  )
  if (found === undefined) return undefined
  if (Option.isNone(found)) return `${source}: no such ${noun}: ${path === "" ? '""' : path}`
  const isFolder = found.value.type === "Directory"
  return isFolder === (type === "Directory") ? undefined : `${source}: not a ${noun}: ${path}`
})
