/**
 * The JSON encoding: one message, one object, one line, for programs. `_tag` names the message; a key that the
 * message does not have is an error. The list of members, several lines in text, is one message here.
 */
import { Result, Schema } from "effect"
import type { Codec, ExecLines } from "../Codec.ts"
import { CommandId } from "../Ids.ts"
import { Line } from "../LineBytes.ts"
import { ClientMessage, type Listed, ServerMessage } from "../Messages.ts"
import { faultOf, type Rejection, unknownCommand } from "../Rejection.ts"

const decodeClient = Schema.decodeUnknownResult(ClientMessage)
const decodeServer = Schema.decodeUnknownResult(ServerMessage)
const encodeClient = Schema.encodeSync(ClientMessage)
const isCommandId = Schema.is(CommandId)
const tags = new Set<unknown>(ClientMessage.members.map((member) => member.fields._tag.schema.literal))

/** The tags to suggest for an unknown one, besides `HELP`. */
const suggestions = [...tags].map(String).filter((tag) => tag !== "Help")

/** Characters of a client's key that a detail quotes: a key may be as long as a line. */
const MAX_KEY = 100

const strict = { onExcessProperty: "error" } as const

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

const parse = (line: string): unknown => {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/** The control characters that JSON itself does not escape. */
const UNESCAPED = /[\u007f-\u009f]/g

/** Without control characters. */
export const stringify = (value: unknown): string =>
  JSON.stringify(value).replace(UNESCAPED, (char) => `\\u00${char.charCodeAt(0).toString(16)}`)

/** A key of the client's, quoted where it is no plain word: it may be anything. */
const nameOf = (key: PropertyKey): string => {
  const name = String(key)
  return (/^\w+$/.test(name) ? name : stringify(name)).slice(0, MAX_KEY).toWellFormed()
}

const malformed = (error: Schema.SchemaError): Rejection => {
  const { fault, field } = faultOf(error)
  return { reason: "malformed", detail: field === undefined ? fault : `${nameOf(field)}: ${fault}` }
}

const decodeClientLine: Codec["decodeClient"] = (line) => {
  const object = parse(line)
  if (typeof object !== "object" || object === null) {
    return Result.fail({ reason: "malformed", detail: "expected one JSON object on one line" })
  }
  const { _tag: tag, id } = object as { readonly _tag?: unknown; readonly id?: unknown }
  if (typeof tag !== "string") {
    return Result.fail({ reason: "unknown command", detail: "try HELP; _tag must name a message" })
  }
  if (!tags.has(tag)) return Result.fail(unknownCommand(tag, suggestions))
  const withId = tag === "Exec" && isCommandId(id) ? { id } : {}
  return Result.mapError(decodeClient(object, strict), (error) => ({ ...malformed(error), ...withId }))
}

/** Makes the text the whole line; its head stays empty. */
const encoded = (line: Line, text: string): Line => {
  const bytes = Buffer.from(text)
  line.bytes = bytes
  line.end = bytes.length
  return line
}

/** Decodes and escapes the command once. All targets of an untracked command get the same line. */
class Exec implements ExecLines {
  readonly #line = new Line()
  /** The line from behind the id on. */
  #rest = ""
  /** Whether the line is that of the untracked command. */
  #isShared = false

  begin(from: number, epoch: number, command: string): this {
    this.#rest = `"from":${from},"command":${stringify(command)},"epoch":${epoch}}`
    this.#isShared = false
    return this
  }

  line(id: number | undefined): Line {
    if (id === undefined && this.#isShared) return this.#line
    this.#isShared = id === undefined
    return encoded(this.#line, `{"_tag":"Exec",${id === undefined ? "" : `"id":"${id}",`}${this.#rest}`)
  }
}

const exec = new Exec()
const resultLine = new Line()

function* encodeMembers(pieces: Iterable<ReadonlyArray<Listed>>, size: number, epoch: number): Generator<Uint8Array> {
  yield Buffer.from(stringify({ _tag: "Roster", size, epoch, members: [] }).replace(/\]\}$/, ""))
  let separator = ""
  for (const members of pieces) {
    if (members.length === 0) continue
    yield Buffer.from(separator + members.map(stringify).join(","))
    separator = ","
  }
  yield Buffer.from("]}\n")
}

export const jsonCodec: Codec = {
  judgesControls: true,
  decodeClient: decodeClientLine,
  decodeServer: (line) => Result.mapError(decodeServer(parse(line)), malformed),
  encodeClient: (message) => stringify(encodeClient(message)),
  encodeServer: stringify,
  encodeMembers,
  exec: (from, epoch, bytes, start, end) => exec.begin(from, epoch, utf8.decode(bytes.subarray(start, end))),
  result: (id, rank, status, bytes, start, end) => {
    const output = start < end ? { output: utf8.decode(bytes.subarray(start, end)) } : {}
    return encoded(resultLine, stringify({ _tag: "Result", id, rank, status, ...output }))
  }
}
