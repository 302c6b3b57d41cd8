/** A wall clock that a test sets while a process runs. The monotonic clock stays as it is. */
import { globSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { folder } from "./folder.ts"

/** Debian's package `faketime`. */
const [library] = globSync("/usr/lib/*/faketime/libfaketimeMT.so.1")

export interface WallClock {
  /** The environment of the processes that have this clock. */
  readonly env: Readonly<Record<string, string>>
  /** Sets it so many seconds ahead of the real one. */
  readonly set: (seconds: number) => void
}

/** A clock that is kept in this folder. */
export const wallClockIn = (folder: string): WallClock => {
  if (library === undefined) throw new Error("the tests need the package `faketime`")
  const file = join(folder, "offset")
  const set = (seconds: number) => writeFileSync(file, `${seconds < 0 ? "" : "+"}${seconds}\n`)
  set(0)
  const env = {
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: file,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1"
  }
  return { env, set }
}

export const wallClock = Effect.map(folder, wallClockIn)
