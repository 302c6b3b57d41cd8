/** The typed lines, kept in a file for the next time. Lines with a token are not kept. */
import { readFileSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"

export const HISTORY_LINES = 1000

/** An empty RANKD_HISTORY keeps nothing. */
const file = process.env.RANKD_HISTORY ?? join(homedir(), ".rankd_history")

export const pastLines = (): Array<string> => {
  try {
    return readFileSync(file, "utf8").split("\n").filter(Boolean)
  } catch {
    return []
  }
}

const hasNoToken = (line: string) => !/^\s*auth\b|"token"/i.test(line)

export const keepLines = (lines: ReadonlyArray<string>): void => {
  if (file === "") return
  const kept = lines.filter(hasNoToken).map((line) => `${line}\n`)
  try {
    writeFileSync(file, kept.join(""), { mode: 0o600 })
  } catch {
    // The prompt works without a history.
  }
}
