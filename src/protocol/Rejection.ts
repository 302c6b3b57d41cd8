/** Why a line is no message, in words that help to write a better one. */
import { type Schema, SchemaIssue } from "effect"

/** A plain value: a flood of bad lines must not cost a stack trace each. */
export interface Rejection {
  readonly reason: "unknown command" | "malformed"
  /** For people. */
  readonly detail?: string
  /** The tracked command that the line would have been. */
  readonly id?: string
}

/** A word with more typing errors is taken for another word; in a short word, one error is a lot. */
const MAX_EDITS = 2
const SHORT_WORD = 4

/** Two words that share so many first letters share them on purpose. */
const PREFIX = 3

/** The number of typing errors from `a` to `b`: letters inserted, removed, replaced, or swapped with the next. */
const edits = (a: string, b: string): number => {
  let beforeLast: Array<number> = []
  let last = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      row[j] = Math.min(replaced, row[j - 1]! + 1, last[j]! + 1)
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (swapped) row[j] = Math.min(row[j]!, beforeLast[j - 2]! + 1)
    }
    beforeLast = last
    last = row
  }
  return last[b.length]!
}

/** How unlikely it is that one word was meant by the other; infinite where it cannot be. */
const distance = (typed: string, word: string): number => {
  if (Math.min(typed.length, word.length) >= PREFIX && (typed.startsWith(word) || word.startsWith(typed))) {
    return typed === word ? 0 : 1
  }
  const isFar = Math.abs(typed.length - word.length) > MAX_EDITS
  return isFar ? Number.POSITIVE_INFINITY : edits(typed, word)
}

/** The word of `known` that was most likely meant, in either case. */
const nearest = (typed: string, known: Iterable<string>): string | undefined => {
  const lower = typed.toLowerCase()
  let found: string | undefined
  let least = (typed.length <= SHORT_WORD ? 1 : MAX_EDITS) + 1
  for (const word of known) {
    const far = distance(lower, word.toLowerCase())
    if (far >= least) continue
    least = far
    found = word
  }
  return found
}

/** Letters to compare: a line may be one long word. */
const MAX_COMPARED = 16

/** Rejects a line that begins with `typed`, which is none of `verbs`. */
export const unknownCommand = (typed: string, verbs: Iterable<string>): Rejection => {
  const meant = nearest(typed.slice(0, MAX_COMPARED), verbs)
  return { reason: "unknown command", detail: meant === undefined ? "try HELP" : `try HELP; did you mean ${meant}?` }
}

const leafHook: SchemaIssue.LeafHook = (issue) => {
  if (issue._tag === "MissingKey") return "missing"
  return issue._tag === "UnexpectedKey" ? "no such field" : SchemaIssue.defaultLeafHook(issue)
}

const issuesOf = SchemaIssue.makeFormatterStandardSchemaV1({ leafHook })

/** The first fault of a message, and the field that has it. */
export const faultOf = ({ issue }: Schema.SchemaError) => {
  const [{ message, path = [] }] = issuesOf(issue).issues as [{ message: string; path?: ReadonlyArray<PropertyKey> }]
  return { field: path[0], fault: message.charAt(0).toLowerCase() + message.slice(1) }
}
