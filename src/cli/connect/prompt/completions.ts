/** Completion of a typed word: a verb at the start of a line, and then the name of a target. */
import type { Listed } from "../../../client/memberList.ts"
import { helpTexts } from "../../../protocol/text/TextCodec.ts"

const verbs = [...new Set(helpTexts.map((text) => /^[A-Z]+/.exec(text)![0]))]

/** What the last word of the line may become, and the word: as readline wants it. */
export const completions = (line: string, members: ReadonlyArray<Listed>): [Array<string>, string] => {
  const start = line.lastIndexOf(" ") + 1
  const [before, word] = [line.slice(0, start), line.slice(start)]
  const starting = (candidates: ReadonlyArray<string>, prefix: string) =>
    candidates.filter((candidate) => candidate.startsWith(prefix)).map((candidate) => `${candidate} `)
  if (before === "") return [starting(verbs, word.toUpperCase()), word]
  if (!/^(?:exec(?:#[^ ]*)?|explain) $/i.test(before)) return [[], word]
  return [starting(["*", ...members.map(({ member, name }) => `@${name ?? member}`)], word), word]
}
