/**
 * How a line is laid out: reading and writing, derived from the usage that people read. Words are separated by
 * exactly one space; the last one takes the rest of the line, so that a command arrives exactly as it was sent.
 *
 * It owns the order of the words. Whether a value is right is for the schemas to judge.
 */

export type Fields = Record<string, unknown>

/** How a word is read and written where it is not the value of its field as it stands. */
export interface Word {
  /** The fields in the word, which is undefined where the line ends before it. */
  readonly read: (word: string | undefined) => Fields
  /** The word; undefined or empty to write none. */
  readonly write: (fields: Fields) => unknown
}

const asItStands = (field: string): Word => ({
  read: (word) => (word === undefined ? {} : { [field]: word }),
  write: (fields) => fields[field]
})

/** A verb, `#<id>` or `[#<id>]`, and words like `<name>` or `[<name>]`; the optional ones come last. */
const USAGE = /^(?<verb>[A-Z]+)(?<id>\[?#<id>\]?)?(?<words>(?: \[?<\w+>\]?)*)$/

export class Layout {
  readonly usage: string
  readonly verb: string
  readonly id: "none" | "optional" | "required"
  readonly #words: ReadonlyArray<Word>
  /** How many of the words every line has. */
  readonly #required: number

  /** @param special by field, the words that are not the field's value as it stands */
  constructor(usage: string, special: { readonly [field: string]: Word } = {}) {
    const { id, verb = "", words = "" } = USAGE.exec(usage)?.groups ?? {}
    const fields = Array.from(words.matchAll(/<(\w+)>/g), ([, field = ""]) => field)
    this.usage = usage
    this.verb = verb
    this.id = id === undefined ? "none" : id.startsWith("[") ? "optional" : "required"
    this.#words = fields.map((field) => special[field] ?? asItStands(field))
    this.#required = fields.length - words.split("[").length + 1
  }

  /** The fields in what follows the verb and a space; undefined where that is too little or too much. */
  read(rest: string): Fields | undefined {
    const words = this.#words
    if (words.length === 0) return rest === "" ? {} : undefined
    const fields: Fields = {}
    let from = 0
    for (const [i, { read }] of words.entries()) {
      const isLast = i === words.length - 1
      if (from >= rest.length) {
        if (i < this.#required) return undefined
        Object.assign(fields, read(undefined))
        continue
      }
      const space = isLast ? -1 : rest.indexOf(" ", from)
      const end = space === -1 ? rest.length : space
      if (end === from) return undefined
      Object.assign(fields, read(rest.slice(from, end)))
      from = end + 1
    }
    return fields
  }

  /** The line, without its LF. */
  write(fields: Fields): string {
    let line = this.verb
    if (this.id !== "none" && fields.id !== undefined) line += `#${fields.id}`
    for (const { write } of this.#words) {
      const word = write(fields)
      if (word !== undefined && word !== "") line += ` ${word}`
    }
    return line
  }
}
