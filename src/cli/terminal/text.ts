/** Text for people: harmless to a terminal, in columns, and in colour where standard output is a terminal. */
import { styleText } from "node:util"
import { hasEscapes } from "./hasEscapes.ts"

/** Control characters but TAB and line feed, and characters that change the direction of text. */
const HARMFUL = /[^\P{Cc}\t\n]|\p{Bidi_Control}/gu

/** Without characters that control a terminal, or make text look like another. */
export const printable = (text: string): string => text.replace(HARMFUL, "")

/** A value as a line of JSON, harmless to a terminal. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(HARMFUL, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)

export type Style = Parameters<typeof styleText>[0]

/** In colour where standard output is a terminal, unless NO_COLOR is set. */
export const styled = (style: Style | undefined, text: string): string =>
  style === undefined || (process.stdout.isTTY && !hasEscapes)
    ? text
    : styleText(style, text, { stream: process.stdout })

export interface Line {
  readonly text: string
  readonly style?: Style
}

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
