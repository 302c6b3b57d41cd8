/** What people see: text of others made harmless, tables, and colour where standard output is a terminal. */
import { clearScreenDown, cursorTo, moveCursor } from "node:readline"
import { styleText } from "node:util"
import { Console, Effect } from "effect"

/** Control characters but TAB and line feed, and what changes the direction of text. */
const HARMFUL = /[^\P{Cc}\t\n]|\p{Bidi_Control}/gu

/** Without what makes a terminal do something, or shows text as what it is not. */
export const printable = (text: string): string => text.replace(HARMFUL, "")

/** A value as a line of JSON that can be shown on a terminal, too. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(HARMFUL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

export type Style = Parameters<typeof styleText>[0]

/** In colour where standard output is a terminal, unless NO_COLOR says otherwise. */
export const styled = (style: Style | undefined, text: string): string =>
  style === undefined ? text : styleText(style, text, { stream: process.stdout })

/** Columns as wide as their widest cell. */
export const table = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join("  ")
      .trimEnd()
  )
}

export interface Line {
  readonly text: string
  readonly style?: Style
}

/** Lines that stay where they are: each showing takes the place of the one before. */
export class InPlace {
  #shown = 0

  /** What there is no room for on the screen is left out; `more` says of how many lines. */
  show(lines: ReadonlyArray<Line>, more: (count: number) => string): void {
    // A terminal that does not know its size says 0.
    const room = (process.stdout.rows || 24) - 1
    const width = (process.stdout.columns || 80) - 1
    const fitting =
      lines.length <= room ? lines : [...lines.slice(0, room - 1), { text: more(lines.length - room + 1) }]
    moveCursor(process.stdout, 0, -this.#shown)
    cursorTo(process.stdout, 0)
    clearScreenDown(process.stdout)
    // A line that wrapped would take two.
    const shown = fitting.map(({ style, text }) => styled(style, text.slice(0, width)))
    process.stdout.write(shown.map((line) => `${line}\n`).join(""))
    this.#shown = fitting.length
  }

  /** To be called when the size of the terminal has changed: where things stand, nobody knows. */
  clear(): void {
    cursorTo(process.stdout, 0, 0)
    clearScreenDown(process.stdout)
    this.#shown = 0
  }
}

/** So much may wait for who reads standard output; what else is said then is left out. */
const MAX_UNREAD_BYTES = 1024 * 1024

let leftOut = 0

/** Prints a line that somebody else has caused; not if that fills the memory since nobody reads. */
export const printBounded = (line: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (process.stdout.writableLength > MAX_UNREAD_BYTES) {
      leftOut++
      return Effect.void
    }
    const before = leftOut === 0 ? Effect.void : Console.error(`rankd: ${leftOut} lines were left out: nobody read`)
    leftOut = 0
    return Effect.andThen(before, Console.log(line))
  })
