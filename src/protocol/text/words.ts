/** The words of text lines that are not the value of a field as it stands. */
import type { Word } from "./Layout.ts"

/**
 * Output on one line: LF, CR and the backslash are written `\n`, `\r` and `\\`, any other control character but
 * TAB `\x` and two hexadecimal digits.
 */
const escaped = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it escapes control characters
  text.replace(/[\u0000-\u0008\u000a-\u001f\u007f-\u009f\\]/g, (char) => {
    if (char === "\n") return "\\n"
    if (char === "\r") return "\\r"
    return char === "\\" ? "\\\\" : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`
  })

/** The inverse. A backslash that begins no escape stands for itself, so a script need not know about escapes. */
const unescaped = (text: string): string =>
  text.replace(/\\(?:([nr\\])|x([0-9a-f]{2}))/g, (_, char: string | undefined, code: string) => {
    if (char === undefined) return String.fromCharCode(Number.parseInt(code, 16))
    return char === "n" ? "\n" : char === "r" ? "\r" : char
  })

export const output = (field: string): Word => ({
  read: (word) => (word === undefined ? {} : { [field]: unescaped(word) }),
  write: ({ [field]: text }) => text && escaped(`${text}`)
})

/** An optional field that is not the last: `-` where it is absent. */
export const orDash = (field: string): Word => ({
  read: (word) => (word === "-" ? {} : { [field]: word }),
  write: ({ [field]: value }) => value ?? "-"
})

/** A number where the word is a plain decimal; anything else stays a string, for the schema to judge. */
export const exitCode: Word = {
  read: (word) => ({ status: /^(?:0|[1-9][0-9]{0,2})$/.test(`${word}`) ? Number(word) : word }),
  write: ({ status }) => status
}

/** `<reason>`, or `<reason>: <detail>`. */
export const reason: Word = {
  read: (word) => {
    const [, reason, detail] = /^(.*?)(?:: (.*))?$/s.exec(`${word}`) ?? []
    return detail === undefined ? { reason } : { reason, detail }
  },
  write: ({ detail, reason }) => (detail === undefined ? reason : `${reason}: ${detail}`)
}

interface Ranked {
  readonly rank: unknown
  readonly member: unknown
}

/** `<rank>:<member> <rank>:<member> ...` */
export const targets: Word = {
  read: (word) => ({
    targets: (word?.split(" ") ?? []).map((target) => {
      const [rank, member] = target.split(":")
      return { rank, member }
    })
  }),
  write: ({ targets }) => (targets as ReadonlyArray<Ranked>).map(({ rank, member }) => `${rank}:${member}`).join(" ")
}
