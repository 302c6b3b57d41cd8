/**
 * Which commands an agent runs: patterns of argument vectors. It only judges; `Agent` runs the commands.
 *
 * A command is split into words at its spaces, and nothing else is done to it: quotes, `$`, `;` and the like
 * are plain characters, and no shell ever sees them. A command is allowed if a pattern matches it word by word.
 *
 * In a pattern, `*` stands for one or more of `A-Z a-z 0-9 . _ -`, `**` for one or more of these and `/`; every
 * other character stands for itself. The first word, the command itself, has no `*`.
 *
 * Invariants: a wildcard matches no space, quote or `$`. It cannot turn a word into an option (`-...`) or an
 * absolute path (`/...`), and cannot bring in `.` or `..` by itself, as between slashes. A word that a
 * wildcard matches has at most 4,096 characters.
 */
import { Result } from "effect"

/** One predicate for each word of the command. */
export type Pattern = ReadonlyArray<(argument: string) => boolean>

/** Splits a command into its words, at its spaces. */
export const words = (command: string): ReadonlyArray<string> => command.split(" ").filter((word) => word !== "")

const CONTROL = /\p{Cc}/u

/** A character, or the class of characters of a wildcard. */
type Token = string | RegExp

const wildcards = new Map([
  ["*", /[A-Za-z0-9._-]/],
  ["**", /[A-Za-z0-9._/-]/]
])

/** `.` or `..` by itself: between slashes, but also after `--file=`. */
const DOTS = /(?<![A-Za-z0-9._-])\.{1,2}(?![A-Za-z0-9._-])/g

const dotsIn = (text: string): number => text.match(DOTS)?.length ?? 0

/** Characters of an argument that a wildcard matches: the longest path of the system (PATH_MAX). */
const MAX_ARGUMENT = 4096

/**
 * Whether characters and wildcards match a whole text. It follows all possible matches side by side, so the time
 * is bounded by the product of the lengths; a regular expression could take years on a hostile text.
 */
const madeOf = (tokens: ReadonlyArray<Token>, text: string): boolean => {
  let reached = new Set([0])
  for (const char of text) {
    const next = new Set<number>()
    for (const position of reached) {
      const token = tokens[position]
      if (token === char) next.add(position + 1)
      else if (token instanceof RegExp && token.test(char)) next.add(position).add(position + 1)
    }
    reached = next
  }
  return reached.has(tokens.length)
}

const matching = (word: string): Pattern[number] => {
  const parts = word.split(/(\*\*?)/)
  if (parts.length === 1) return (argument) => argument === word
  const tokens = parts.flatMap((part): ReadonlyArray<Token> => {
    const wildcard = wildcards.get(part)
    return wildcard === undefined ? [...part] : [wildcard]
  })
  const dots = dotsIn(parts.map((part) => (wildcards.has(part) ? "x" : part)).join(""))
  return (argument) =>
    argument.length <= MAX_ARGUMENT &&
    // Only the pattern itself can begin an option or an absolute path.
    ["-", "/"].every((first) => word.startsWith(first) || !argument.startsWith(first)) &&
    dotsIn(argument) <= dots &&
    madeOf(tokens, argument)
}

/** Parses a pattern like `systemctl restart app-*`. Fails with what is wrong with it. */
export const pattern = (text: string): Result.Result<Pattern, string> => {
  if (CONTROL.test(text)) return Result.fail("a pattern has no control characters: separate words with spaces")
  const [command, ...rest] = words(text)
  if (command === undefined) return Result.fail("a pattern begins with a command, like uptime")
  if (command.includes("*")) return Result.fail("name the command itself: * may stand in its arguments only")
  return Result.succeed([command, ...rest].map(matching))
}

/** Parses a file with one pattern a line; it skips empty lines, and lines that begin with `#`. Fails with the first wrong line. */
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

/** Whether one of the patterns matches the command, given as words. */
export const allows = (patterns: ReadonlyArray<Pattern>, argv: ReadonlyArray<string>): boolean =>
  patterns.some(
    (pattern) => pattern.length === argv.length && pattern.every((matches, position) => matches(argv[position]!))
  )
