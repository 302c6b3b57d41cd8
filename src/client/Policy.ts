/**
 * Which commands an agent runs: patterns of argument vectors. A command is cut
 * into words at its spaces, and that is all that is done to it: quotes, `$`, `;`
 * and the like are characters like any other, and no shell ever sees them. It is
 * allowed when one pattern matches it word by word.
 *
 * In a pattern `*` stands for one or more of `A-Z a-z 0-9 . _ -`, and what else is
 * written stands for itself. A word that a `*` is part of can thus hold no slash,
 * space or quote that the pattern does not; it may not begin with `-` either, so
 * that it is no option, unless the pattern does, and it is never `.` or `..`, nor
 * has them between slashes. The command itself, the first word, has no `*`.
 */
import { RegExp as Regular, Result } from "effect"

/** The words of a pattern, each as what an argument has to match. */
export type Pattern = ReadonlyArray<RegExp>

/** The words of a command. */
export const words = (command: string): ReadonlyArray<string> => command.split(" ").filter((word) => word !== "")

const CONTROL = /\p{Cc}/u

const DOT_SEGMENT = "(?:.*/)?\\.{1,2}(?:/.*)?$"

const wordPattern = (word: string): RegExp => {
  const parts = word.split("*").map(Regular.escape)
  if (parts.length === 1) return new RegExp(`^${parts[0]}$`)
  const option = word.startsWith("-") ? "" : "(?!-)"
  return new RegExp(`^${option}(?!${DOT_SEGMENT})${parts.join("[A-Za-z0-9._-]+")}$`)
}

/** Reads a pattern, as `systemctl restart app-*`; or says what is wrong with it. */
export const pattern = (text: string): Result.Result<Pattern, string> => {
  if (CONTROL.test(text)) return Result.fail("a pattern holds no control characters: separate words by spaces")
  const [command, ...rest] = words(text)
  if (command === undefined) return Result.fail("a pattern begins with a command, like uptime")
  if (command.includes("*")) return Result.fail("name the command itself: * may stand in its arguments only")
  return Result.succeed([command, ...rest].map(wordPattern))
}

/** Reads the patterns of a file: one a line; empty lines, and those that begin with `#`, are for people. */
export const file = (text: string): Result.Result<ReadonlyArray<Pattern>, string> => {
  const patterns: Array<Pattern> = []
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue
    const read = pattern(line)
    if (Result.isFailure(read)) return Result.fail(`line ${index + 1}: ${read.failure}`)
    patterns.push(read.success)
  }
  return Result.succeed(patterns)
}

export const allows = (patterns: ReadonlyArray<Pattern>, argv: ReadonlyArray<string>): boolean =>
  patterns.some(
    (pattern) => pattern.length === argv.length && pattern.every((word, position) => word.test(argv[position]!))
  )
