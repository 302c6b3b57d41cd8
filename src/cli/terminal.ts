/** What people see: text of others made harmless, tables, and colour where standard output is a terminal. */
import { clearScreenDown, cursorTo, moveCursor } from "node:readline"
import { styleText } from "node:util"

/** Control characters but TAB and line feed, and what changes the direction of text. */
const HARMFUL = /[^\P{Cc}\t\n]|\p{Bidi_Control}/gu

/** Without what makes a terminal do something, or shows text as what it is not. */
export const printable = (text: string): string => text.replace(HARMFUL, "")

/** A value as a line of JSON that can be shown on a terminal, too. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(HARMFUL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

/** In colour where standard output is a terminal, unless NO_COLOR says otherwise. */
export const styled = (style: Parameters<typeof styleText>[0], text: string): string =>
  styleText(style, text, { stream: process.stdout })

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

/** Lines that stay where they are: each showing takes the place of the one before. */
export class InPlace {
  #shown = 0

  /** What there is no room for on the screen is left out; `more` says of how many lines. */
  show(lines: ReadonlyArray<string>, more: (count: number) => string): void {
    const { columns, rows } = process.stdout
    const room = rows - 1
    const fitting = lines.length <= room ? lines : [...lines.slice(0, room - 1), more(lines.length - room + 1)]
    moveCursor(process.stdout, 0, -this.#shown)
    cursorTo(process.stdout, 0)
    clearScreenDown(process.stdout)
    // A line that wrapped would take two.
    process.stdout.write(fitting.map((line) => `${line.slice(0, columns - 1)}\n`).join(""))
    this.#shown = fitting.length
  }
}
