/**
 * Why a program cannot start, in words. It looks at the folder and at the file of the program, and reads the system's
 * errors; it starts nothing. What it misses, the system finds when the program starts.
 */
import { Effect, FileSystem, Option, type PlatformError, Result } from "effect"

export interface Unstartable {
  /** That of a shell, where the reason is the program's file. */
  readonly status: 126 | 127 | "failed"
  readonly reason: string
}

const missing = (reason: string): Unstartable => ({ status: 127, reason })
const refused = (reason: string): Unstartable => ({ status: 126, reason })
const failed = (reason: string): Unstartable => ({ status: "failed", reason })

const resolved = (path: string, cwd: string): string => (path.startsWith("/") ? path : `${cwd}/${path}`)

const look = (path: string) => FileSystem.FileSystem.use(({ stat }) => Effect.result(stat(path)))

const isMissing = ({ reason }: PlatformError.PlatformError): boolean => reason._tag === "NotFound"

const folderProblem = Effect.fnUntraced(function* (cwd: string) {
  const folder = yield* look(cwd)
  if (Result.isSuccess(folder)) {
    return folder.success.type === "Directory" ? undefined : failed(`${cwd} is not a folder`)
  }
  return failed(`the folder ${cwd} ${isMissing(folder.failure) ? "does not exist" : "may not be entered"}`)
})

/** Bytes of a file in which the system looks for `#!` and the path of an interpreter. */
const HEAD_BYTES = 256

/** The file exists, and may be executed. */
const interpreterProblem = Effect.fnUntraced(
  function* (path: string, cwd: string) {
    const { open } = yield* FileSystem.FileSystem
    const head = yield* Effect.flatMap(open(path), (file) => file.readAlloc(HEAD_BYTES))
    const [, interpreter] = /^#![ \t]*([^ \t\n]+)/.exec(new TextDecoder().decode(Option.getOrUndefined(head))) ?? []
    if (interpreter === undefined) return undefined
    const found = yield* look(resolved(interpreter, cwd))
    if (Result.isSuccess(found) || !isMissing(found.failure)) return undefined
    const advice = interpreter.endsWith("\r") ? ". Save the file without Windows line ends" : ""
    return missing(`its first line names ${JSON.stringify(interpreter)}, which does not exist${advice}`)
  },
  Effect.scoped,
  // A program that may be executed need not be readable.
  Effect.orElseSucceed(() => undefined)
)

/** The paths that a program may have, in the order in which the system tries them. */
const pathsOf = (file: string, searched: string): ReadonlyArray<string> =>
  file.includes("/") ? [file] : searched.split(":").map((folder) => `${folder || "."}/${file}`)

/** `searched` is a `PATH`. Undefined if nothing is wrong with the folder or the file. */
export const unstartable = Effect.fnUntraced(function* (
  file: string,
  cwd: string,
  searched: string
): Effect.fn.Return<Unstartable | undefined, never, FileSystem.FileSystem> {
  const problem = yield* folderProblem(cwd)
  if (problem !== undefined) return problem
  let last = missing("not found")
  for (const path of pathsOf(file, searched)) {
    const found = yield* look(resolved(path, cwd))
    if (Result.isFailure(found)) {
      if (found.failure.reason._tag === "PermissionDenied") last = refused("permission denied")
    } else if (found.success.type === "Directory") {
      last = refused("is a folder")
    } else if ((found.success.mode & 0o111) === 0) {
      last = refused("permission denied")
    } else {
      return yield* interpreterProblem(resolved(path, cwd), cwd)
    }
  }
  return last
})

const systemErrors: Record<string, string> = {
  EMFILE: "too many open files in this process",
  ENFILE: "too many open files on this machine",
  EAGAIN: "too many processes",
  ENOMEM: "not enough memory"
}

/** Why the system starts no program at all in this folder. The error is of the shell that is there for every program. */
export const systemProblem = (error: unknown, cwd: string): string => {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === "EACCES" || code === "EPERM") return `the folder ${cwd} may not be entered`
  return systemErrors[code ?? ""] ?? message
}
