/**
 * The typed lines, kept in a file for the next time. It owns the file, which several prompts may share: each appends its
 * lines. Lines with a token, and those that begin with a space, are not kept.
 *
 * Invariant: only its owner can read the file.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  writeFileSync
} from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { appendLine } from "../../appendLine.ts"
import { printable } from "../../terminal/text.ts"

/** Lines that a prompt takes from the file. The file itself has up to twice as many. */
export const HISTORY_LINES = 1000

/** An empty RANKD_HISTORY keeps nothing. Nor does a user without a home: no HOME, and unknown to the system. */
export const historyFile = (): string => {
  try {
    return process.env.RANKD_HISTORY ?? join(homedir(), ".rankd_history")
  } catch {
    return ""
  }
}

const isPrivate = (line: string) => /^\s|^auth\b|"token"/i.test(line)

/** Opening a pipe that nobody writes must not wait. */
const { O_APPEND, O_CREAT, O_NONBLOCK, O_RDWR } = constants

export class History {
  readonly #path: string
  #last: string | undefined

  constructor(path: string) {
    this.#path = path
  }

  /** The newest line first. */
  past(): Array<string> {
    return this.#withFile(0, (file) => this.#shortened(printable(readFileSync(file, "utf8")))) ?? []
  }

  keep(line: string): void {
    if (isPrivate(line) || line === this.#last) return
    this.#last = line
    this.#withFile(O_CREAT, (file, size) => appendLine(file, size, line))
  }

  #shortened(text: string): Array<string> {
    const lines = text.split("\n").filter(Boolean)
    const recent = lines.slice(-HISTORY_LINES)
    if (lines.length > 2 * HISTORY_LINES) {
      const path = realpathSync(this.#path)
      const next = `${path}.${process.pid}`
      writeFileSync(next, recent.map((line) => `${line}\n`).join(""), { mode: 0o600 })
      renameSync(next, path)
    }
    return recent.reverse()
  }

  /** Undefined where there is no such file: the prompt works without a history. */
  #withFile<A>(flags: number, use: (file: number, size: number) => A): A | undefined {
    try {
      const file = openSync(this.#path, O_RDWR | O_APPEND | O_NONBLOCK | flags, 0o600)
      try {
        const stat = fstatSync(file)
        if (!stat.isFile()) return undefined
        fchmodSync(file, 0o600)
        return use(file, stat.size)
      } finally {
        closeSync(file)
      }
    } catch {
      return undefined
    }
  }
}
