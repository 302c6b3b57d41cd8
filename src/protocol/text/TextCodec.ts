/**
 * The text encoding: one message, one line, for people with `nc` and for small scripts. It owns the tables of verbs.
 * Each row serves reading, writing and `HELP`; `Layout` does the first two, the schemas judge the values.
 */
import { Result, Schema } from "effect"
import type { Codec, ExecLines } from "../Codec.ts"
import { CommandId } from "../Ids.ts"
import { Line } from "../LineBytes.ts"
import { ClientMessage, type Listed, ServerMessage } from "../Messages.ts"
import { faultOf, type Rejection, unknownCommand } from "../Rejection.ts"
import { Layout } from "./Layout.ts"
import { exitCode, orDash, output, reason, targets } from "./words.ts"

/** A client's verb, and what it does, for `HELP`. */
interface Verb {
  readonly layout: Layout
  readonly help: string
}

const verb = (usage: string, help: string, special?: ConstructorParameters<typeof Layout>[1]): Verb => ({
  layout: new Layout(usage, special),
  help
})

/** The verbs of clients. Only JSON has `Hello`, and fields that no usage has a word for (`timeout`, guards). */
const clientVerbs: { readonly [tag in Exclude<ClientMessage["_tag"], "Hello">]: Verb } = {
  Exec: verb(
    "EXEC[#<id>] <to> <command>",
    "run <command> on <to>: a rank below yours (3), a range (2-5), * or @name; #<id> asks for the outcome"
  ),
  Cancel: verb("CANCEL#<id>", "withdraw your command <id>"),
  Output: verb("OUTPUT#<id> <text>", "send part of the output of command <id>", { text: output("text") }),
  Result: verb(
    "RESULT#<id> <status> [<output>]",
    "report the outcome of command <id>: an exit code 0-255, or denied, failed, cancelled, busy",
    { status: exitCode, output: output("output") }
  ),
  Explain: verb("EXPLAIN <to>", "list the members that a command to <to> would reach"),
  Ranks: verb("RANKS", "list the members"),
  Whois: verb("WHOIS <who>", "show one member: @name or @m7"),
  Watch: verb("WATCH", "list the members, then report every change"),
  Unwatch: verb("UNWATCH", "stop reporting changes"),
  Name: verb("NAME <name>", "take this name"),
  Join: verb("JOIN <group>", "move to the last rank of another group"),
  Yield: verb("YIELD", "step down to the last rank"),
  Auth: verb("AUTH <token>", "show your token, where the server asks for one"),
  Ping: verb("PING [<text>]", "get PONG [<text>] back"),
  Pong: verb("PONG [<text>]", "answer a PING"),
  Help: verb("HELP", "show this list"),
  Quit: verb("QUIT", "disconnect")
}

/** The verbs of the server. In text, a `Roster` is several lines and a `Welcome` is a `RANK`. */
const serverLayouts: { readonly [tag in Exclude<ServerMessage["_tag"], "Roster" | "Welcome">]: Layout } = {
  Rank: new Layout("RANK <rank> <size> <epoch> <member>"),
  Exec: new Layout("EXEC[#<id>] <from> <command>"),
  Output: new Layout("OUTPUT#<id> <rank> <text>", { text: output("text") }),
  Result: new Layout("RESULT#<id> <rank> <status> [<output>]", { output: output("output") }),
  Done: new Layout("DONE#<id> <ok> <notOk>"),
  Cancel: new Layout("CANCEL#<id>"),
  Targets: new Layout("TARGETS <count> [<targets>]", { targets }),
  Member: new Layout("MEMBER <rank> <member> <name> <address>", { name: orDash("name") }),
  End: new Layout("END <size> <epoch>"),
  Joined: new Layout("JOINED <rank> <member>"),
  Left: new Layout("LEFT <rank> <member> <reason>"),
  Moved: new Layout("MOVED <from> <to> <member>"),
  Named: new Layout("NAMED <rank> <member> <name>"),
  Ping: new Layout("PING"),
  Pong: new Layout("PONG [<text>]"),
  Help: new Layout("HELP <text>"),
  Bye: new Layout("BYE <reason>"),
  Error: new Layout("ERROR[#<id>] <rank> <reason>", { rank: orDash("rank"), reason })
}

const byVerb = <A>(rows: ReadonlyArray<readonly [tag: string, row: A]>, verbOf: (row: A) => string) =>
  new Map(rows.map(([tag, row]) => [verbOf(row), [tag, row] as const]))

const clientTable = byVerb(Object.entries(clientVerbs), ({ layout }) => layout.verb)
const serverTable = byVerb(Object.entries(serverLayouts), (layout) => layout.verb)

/** The verbs to suggest for an unknown one, besides `HELP`. */
const suggestions = [...clientTable.keys()].filter((verb) => verb !== "HELP")

/** The answer to `HELP`, a text for each line. */
export const helpTexts: ReadonlyArray<string> = Object.values(clientVerbs).map(
  ({ help, layout }) => `${layout.usage.padEnd(32)}${help}`
)

/** The verb, the id behind a `#`, and the rest behind a space. */
const split = (line: string) => {
  const space = line.indexOf(" ")
  const word = space === -1 ? line : line.slice(0, space)
  const [, verb, id] = /^([A-Za-z]+)#(.*)$/s.exec(word) ?? [word, word]
  return { verb: verb!, withId: id === undefined ? {} : { id }, rest: line.slice(word.length + 1) }
}

const decodeClient = Schema.decodeUnknownResult(ClientMessage)
const encodeClient = Schema.encodeSync(ClientMessage)
const isCommandId = Schema.is(CommandId)

const decodeClientLine: Codec["decodeClient"] = (line) => {
  const { rest, verb, withId } = split(line)
  const [letters] = /^[A-Za-z]*/.exec(verb)!
  const [tag, entry] = (letters === verb && clientTable.get(verb.toUpperCase())) || []
  if (entry === undefined || ("id" in withId && entry.layout.id === "none")) {
    return Result.fail(unknownCommand(letters, suggestions))
  }
  const malformed = (detail: string): Rejection => ({
    reason: "malformed",
    detail,
    ...(tag === "Exec" && isCommandId(withId.id) ? { id: withId.id } : {})
  })
  const fields = entry.layout.read(rest)
  if (fields === undefined || (entry.layout.id === "required" && !("id" in withId))) {
    return Result.fail(malformed(`write ${entry.layout.usage}`))
  }
  return Result.mapError(decodeClient({ _tag: tag, ...withId, ...fields }), (error) => malformed(faultOf(error).fault))
}

const encodeClientLine: Codec["encodeClient"] = (message) => {
  const fields = encodeClient(message)
  return fields._tag === "Hello" ? "HELLO" : clientVerbs[fields._tag].layout.write(fields)
}

const encodeServerLine: Codec["encodeServer"] = (message) => {
  switch (message._tag) {
    case "Roster": {
      const { epoch, members, size } = message
      return [...members.map((member) => memberLine(member)), serverLayouts.End.write({ size, epoch })].join("\n")
    }
    case "Welcome":
      return serverLayouts.Rank.write(message)
    default:
      return serverLayouts[message._tag].write(message)
  }
}

const memberLine = (member: Listed): string => serverLayouts.Member.write(member)

/** In a string tree numbers are strings, as they are in a line. */
const decodeServer = Schema.decodeUnknownResult(Schema.toCodecStringTree(ServerMessage))

/** Accepts exactly the lines that `encodeServerLine` writes: `RANK 01 ...` is malformed. */
const decodeServerLine: Codec["decodeServer"] = (line) => {
  const { rest, verb, withId } = split(line)
  const [tag, layout] = serverTable.get(verb) ?? []
  if (layout === undefined) return Result.fail({ reason: "unknown command" })
  const decoded = decodeServer({ _tag: tag, ...withId, ...layout.read(rest) })
  return Result.isSuccess(decoded) && encodeServerLine(decoded.success) === line
    ? Result.succeed(decoded.success)
    : Result.fail({ reason: "malformed", detail: `not a ${verb} line` })
}

function* encodeMembers(pieces: Iterable<ReadonlyArray<Listed>>, size: number, epoch: number): Generator<Uint8Array> {
  for (const members of pieces) yield Buffer.from(members.map((member) => `${memberLine(member)}\n`).join(""))
  yield Buffer.from(`${serverLayouts.End.write({ size, epoch })}\n`)
}

/** Makes no string for an untracked command, and no object for any: millions pass in a second. */
class Exec implements ExecLines {
  /** Its head stays while the issuer's rank is the same. */
  readonly #untracked = new Line()
  readonly #tracked = new Line()
  #from = -1

  begin(from: number, bytes: Uint8Array, start: number, end: number): this {
    const line = this.#untracked
    if (from !== this.#from) {
      line.head.write("EXEC ").number(from).text(" ")
      this.#from = from
    }
    // By the million, and mostly the same buffer: a reference that is stored costs a write barrier.
    if (line.bytes !== bytes) line.bytes = bytes
    line.start = start
    line.end = end
    return this
  }

  line(id: number | undefined): Line {
    if (id === undefined) return this.#untracked
    const { bytes, end, start } = this.#untracked
    this.#tracked.head.write("EXEC#").number(id).text(" ").number(this.#from).text(" ")
    return pass(this.#tracked, bytes, start, end)
  }
}

/** Makes these bytes the rest of the line, without a copy. */
const pass = (line: Line, bytes: Uint8Array, start: number, end: number): Line => {
  line.bytes = bytes
  line.start = start
  line.end = end
  return line
}

const exec = new Exec()
const resultLine = new Line()

export const textCodec: Codec = {
  judgesControls: false,
  decodeClient: decodeClientLine,
  decodeServer: decodeServerLine,
  encodeClient: encodeClientLine,
  encodeServer: encodeServerLine,
  encodeMembers,
  exec: (from, _epoch, bytes, start, end) => exec.begin(from, bytes, start, end),
  result: (id, rank, status, bytes, start, end) => {
    const head = resultLine.head.write("RESULT#").text(id).text(" ").number(rank).text(" ").number(status)
    if (start < end) head.text(" ")
    return pass(resultLine, bytes, start, end)
  }
}
