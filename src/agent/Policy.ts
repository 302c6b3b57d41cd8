/**
 * Which commands an agent runs: patterns of argument vectors. A command is cut
 * into words at its spaces, and that is all that is done to it: quotes, `$`, `;`
 * and the like are characters like any other, and no shell ever sees them. It is
 * allowed when one pattern matches it word by word.
 *
 * In a pattern `*` stands for one or more of `A-Z a-z 0-9 . _ -`, `**` for the same
 * and `/`, and what else is written for itself. So what they stand for holds no
 * space, quote or `$`; it makes no option (`-...`) and no absolute path (`/...`) of
 * a word that the pattern does not begin so; and it brings no `.` or `..` by itself,
 * as between slashes. Such a word has 4,096 characters at most. The command itself, the first word, has no `*`.
 */
import { Result } from "effect"

/** The words of a pattern, each as what it says of an argument. */
export type Pattern = ReadonlyArray<(argument: string) => boolean>

/** The words of a command. */
export const words = (command: string): ReadonlyArray<string> => command.split(" ").filter((word) => word !== "")

const CONTROL = /\p{Cc}/u

/** A character, or what characters a wildcard stands for. */
type Token = string | RegExp

const wildcards = new Map([
  ["*", /[A-Za-z0-9._-]/],
  ["**", /[A-Za-z0-9._/-]/]
])

/** `.` or `..` by itself: between slashes, but also after `--file=`. */
const DOTS = /(?<![A-Za-z0-9._-])\.{1,2}(?![A-Za-z0-9._-])/g

const dotsIn = (text: string): number => text.match(DOTS)?.length ?? 0

/** Characters of an argument that a wildcard is part of, at most: the longest path that there is (PATH_MAX). */
const MAX_ARGUMENT = 4096

/**
 * Whether characters and wildcards make up a text. All the ways in which they could
 * are followed side by side: the time is the product of the lengths at most, where
 * a regular expression could take years for a text that is made for it.
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
    // What it begins with the pattern has to say: an option, and an absolute path.
    ["-", "/"].every((first) => word.startsWith(first) || !argument.startsWith(first)) &&
    dotsIn(argument) <= dots &&
    madeOf(tokens, argument)
}

/** Reads a pattern, as `systemctl restart app-*`; or says what is wrong with it. */
export const pattern = (text: string): Result.Result<Pattern, string> => {
  if (CONTROL.test(text)) return Result.fail("a pattern holds no control characters: separate words by spaces")
  const [command, ...rest] = words(text)
  if (command === undefined) return Result.fail("a pattern begins with a command, like uptime")
  if (command.includes("*")) return Result.fail("name the command itself: * may stand in its arguments only")
  return Result.succeed([command, ...rest].map(matching))
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
    (pattern) => pattern.length === argv.length && pattern.every((matches, position) => matches(argv[position]!))
  )
