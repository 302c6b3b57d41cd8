/**
 * The text encoding: one message, one line, for people with `nc` and for small
 * scripts. Words are separated by exactly one space; the last word of a message
 * takes the rest of the line, so that a command arrives exactly as it was sent.
 *
 * It owns the layout of a line. What the words may be is the schemas' matter
 * (`Message`), where a line ends is `Lines`'.
 */
import { Result, Schema } from "effect"
import type { Codec, Rejection } from "../Codec.ts"
import { CommandId } from "../Ids.ts"
import { ClientMessage, ServerMessage } from "../Messages.ts"

type Fields = Record<string, unknown>

/** Lays what follows the verb (and a space) out into fields; undefined where there is too little or too much. */
type Reader = (rest: string) => Fields | undefined

const nothing: Reader = (rest) => (rest === "" ? {} : undefined)

const optionalText: Reader = (rest) => (rest === "" ? {} : { text: rest })

const words =
  (...names: ReadonlyArray<string>): Reader =>
  (rest) => {
    const fields: Fields = {}
    let from = 0
    for (const [i, name] of names.entries()) {
      const space = i === names.length - 1 ? rest.length : rest.indexOf(" ", from)
      if (space <= from) return undefined
      fields[name] = rest.slice(from, space)
      from = space + 1
    }
    return fields
  }

/** `read`, with one of its fields changed; an absent field, or one made undefined, is absent. */
const changing =
  (name: string, change: (text: string) => unknown, read: Reader): Reader =>
  (rest) => {
    const fields = read(rest)
    if (fields?.[name] === undefined) return fields
    const { [name]: text, ...others } = fields
    const value = change(`${text}`)
    return value === undefined ? others : { ...others, [name]: value }
  }

const undash = (text: string): string | undefined => (text === "-" ? undefined : text)

/**
 * Output on one line: LF, CR and the backslash are written `\n`, `\r` and `\\`,
 * any other control character but TAB `\x` and two hexadecimal digits.
 */
const escaped = (text: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it escapes
  text.replace(/[\u0000-\u0008\u000a-\u001f\u007f\\]/g, (char) => {
    if (char === "\n") return "\\n"
    if (char === "\r") return "\\r"
    return char === "\\" ? "\\\\" : `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`
  })

/** What `escaped` wrote. A backslash that begins no escape is one: a script need not know of any. */
const unescaped = (text: string): string =>
  text.replace(/\\(?:([nr\\])|x([0-9a-f]{2}))/g, (_, char: string | undefined, code: string) => {
    if (char === undefined) return String.fromCharCode(Number.parseInt(code, 16))
    return char === "n" ? "\n" : char === "r" ? "\r" : char
  })

/** `<status> [<output>]`, after other words. */
const result = (...before: ReadonlyArray<string>): Reader => {
  const whole = words(...before, "status", "output")
  const short = words(...before, "status")
  return changing(
    "status",
    (status) => (/^(?:0|[1-9][0-9]{0,2})$/.test(status) ? Number(status) : status),
    changing("output", unescaped, (rest) => whole(rest) ?? short(rest.replace(/ $/, "")))
  )
}

const error: Reader = (rest) => {
  const fields = changing("rank", undash, words("rank", "reason"))(rest)
  const [, reason, detail] = /^(.*?)(?:: (.*))?$/s.exec(`${fields?.reason}`) ?? []
  return fields === undefined ? undefined : { ...fields, reason, ...(detail === undefined ? {} : { detail }) }
}

const targets: Reader = (rest) => {
  const [count, ...listed] = rest.split(" ")
  return {
    count,
    targets: listed.map((target) => {
      const [rank, member] = target.split(":")
      return { rank, member }
    })
  }
}

/** A verb of clients: how it is written, whether `#<id>` goes with it, and what it means, for `HELP`. */
interface ClientVerb {
  readonly tag: ClientMessage["_tag"]
  readonly id?: "optional" | "required"
  readonly usage: string
  readonly read: Reader
  readonly help: string
}

const clientVerbs: { readonly [verb: string]: ClientVerb } = {
  EXEC: {
    tag: "Exec",
    id: "optional",
    usage: "EXEC[#<id>] <to> <command>",
    read: words("to", "command"),
    help: "have <to> execute <command>: a rank below yours (3), a range (2-5), * or @name; #<id> asks for the outcome"
  },
  CANCEL: { tag: "Cancel", id: "required", usage: "CANCEL#<id>", read: nothing, help: "withdraw your command <id>" },
  OUTPUT: {
    tag: "Output",
    id: "required",
    usage: "OUTPUT#<id> <text>",
    read: changing("text", unescaped, words("text")),
    help: "partial output of the command <id> that reached you"
  },
  RESULT: {
    tag: "Result",
    id: "required",
    usage: "RESULT#<id> <status> [<output>]",
    read: result(),
    help: "its outcome: an exit code 0-255, or denied, failed, cancelled, busy"
  },
  EXPLAIN: { tag: "Explain", usage: "EXPLAIN <to>", read: words("to"), help: "whom a command to <to> would reach" },
  RANKS: { tag: "Ranks", usage: "RANKS", read: nothing, help: "list the members" },
  WATCH: { tag: "Watch", usage: "WATCH", read: nothing, help: "list the members, then tell of every change" },
  UNWATCH: { tag: "Unwatch", usage: "UNWATCH", read: nothing, help: "stop telling" },
  NAME: { tag: "Name", usage: "NAME <name>", read: words("name"), help: "be known as <name>" },
  JOIN: { tag: "Join", usage: "JOIN <group>", read: words("group"), help: "leave this group, be the last of another" },
  YIELD: { tag: "Yield", usage: "YIELD", read: nothing, help: "step down: become the last" },
  AUTH: {
    tag: "Auth",
    usage: "AUTH <token>",
    read: words("token"),
    help: "be let in, where the server asks for a token"
  },
  PING: { tag: "Ping", usage: "PING [<text>]", read: optionalText, help: "be answered by PONG [<text>]" },
  PONG: { tag: "Pong", usage: "PONG [<text>]", read: optionalText, help: "the answer to a PING" },
  HELP: { tag: "Help", usage: "HELP", read: nothing, help: "this list" },
  QUIT: { tag: "Quit", usage: "QUIT", read: nothing, help: "leave" }
}

/** The answer to `HELP`: a text a line. */
export const helpTexts: ReadonlyArray<string> = Object.values(clientVerbs).map(
  ({ usage, help }) => `${usage.padEnd(32)}${help}`
)

/** The verb, the id behind a `#`, and the rest behind a space. */
const split = (line: string) => {
  const word = /^[^ ]*/.exec(line)![0]
  const [verb, id] = /^([A-Za-z]+)#(.*)$/s.exec(word)?.slice(1) ?? [word]
  return { verb: verb!, withId: id === undefined ? {} : { id }, rest: line.slice(word.length + 1) }
}

const decodeClient = Schema.decodeUnknownResult(ClientMessage)
const isCommandId = Schema.is(CommandId)

/** What a client said. `line` has no line end and no control characters but TAB. */
const decodeClientLine = (line: string): Result.Result<ClientMessage, Rejection> => {
  const { verb, withId, rest } = split(line)
  const name = /^[A-Za-z]+$/.test(verb) ? verb.toUpperCase() : ""
  const entry = Object.hasOwn(clientVerbs, name) ? clientVerbs[name] : undefined
  if (entry === undefined || ("id" in withId && entry.id === undefined)) {
    return Result.fail({ reason: "unknown command" })
  }
  const malformed = (detail: string): Rejection => ({
    reason: "malformed",
    detail,
    ...(entry.tag === "Exec" && isCommandId(withId.id) ? { id: withId.id } : {})
  })
  const fields = entry.read(rest)
  if (fields === undefined || (entry.id === "required" && !("id" in withId))) {
    return Result.fail(malformed(`write ${entry.usage}`))
  }
  return Result.mapError(decodeClient({ _tag: entry.tag, ...withId, ...fields }), (error) =>
    malformed(firstLine(error.message))
  )
}

const firstLine = (text: string): string => {
  const line = /^[^\n]*/.exec(text)![0]
  return line.charAt(0).toLowerCase() + line.slice(1)
}

const encodeClient = Schema.encodeSync(ClientMessage)

/** The verb with its id, and the words that are there. */
const line = (verb: string, id: string | undefined, ...words: ReadonlyArray<string | number | undefined>): string =>
  [id === undefined ? verb : `${verb}#${id}`, ...words.filter((word) => word !== undefined && word !== "")].join(" ")

const output = (text: string | undefined): string | undefined => text && escaped(text)

/** The line, without its end, that says `message`. What only JSON can say (`timeout`, guards, `Hello`) is left out. */
const encodeClientLine = (message: ClientMessage): string => {
  const said = encodeClient(message)
  switch (said._tag) {
    case "Exec":
      return line("EXEC", said.id, said.to, said.command)
    case "Explain":
      return line("EXPLAIN", undefined, said.to)
    case "Output":
      return line("OUTPUT", said.id, output(said.text))
    case "Result":
      return line("RESULT", said.id, said.status, output(said.output))
    case "Cancel":
      return line("CANCEL", said.id)
    case "Name":
      return line("NAME", undefined, said.name)
    case "Join":
      return line("JOIN", undefined, said.group)
    case "Auth":
      return line("AUTH", undefined, said.token)
    case "Ping":
    case "Pong":
      return line(said._tag.toUpperCase(), undefined, said.text)
    default:
      return said._tag.toUpperCase()
  }
}

/** The line, without its end, that says `message`. */
const encodeServerLine: (message: ServerMessage) => string = ServerMessage.match({
  Rank: ({ rank, size, epoch, member }) => `RANK ${rank} ${size} ${epoch} ${member}`,
  Exec: ({ id, from, command }) => line("EXEC", id, from, command),
  Output: ({ id, rank, text }) => line("OUTPUT", id, rank, output(text)),
  Result: ({ id, rank, status, output: text }) => line("RESULT", id, rank, status, output(text)),
  Done: ({ id, ok, notOk }) => line("DONE", id, ok, notOk),
  Cancel: ({ id }) => line("CANCEL", id),
  Targets: ({ count, targets }) =>
    line("TARGETS", undefined, count, ...targets.map(({ rank, member }) => `${rank}:${member}`)),
  Member: ({ rank, member, name, address }) => `MEMBER ${rank} ${member} ${name ?? "-"} ${address}`,
  End: ({ size, epoch }) => `END ${size} ${epoch}`,
  Roster: ({ members, size, epoch }) =>
    [
      ...members.map((member) => encodeServerLine({ _tag: "Member", ...member })),
      encodeServerLine({ _tag: "End", size, epoch })
    ].join("\n"),
  Welcome: ({ rank, size, epoch, member }) => encodeServerLine({ _tag: "Rank", rank, size, epoch, member }),
  Joined: ({ rank, member }) => `JOINED ${rank} ${member}`,
  Left: ({ rank, member, reason }) => `LEFT ${rank} ${member} ${reason}`,
  Moved: ({ from, to, member }) => `MOVED ${from} ${to} ${member}`,
  Named: ({ rank, member, name }) => `NAMED ${rank} ${member} ${name}`,
  Ping: () => "PING",
  Pong: ({ text }) => line("PONG", undefined, text),
  Help: ({ text }) => `HELP ${text}`,
  Bye: ({ reason }) => `BYE ${reason}`,
  Error: ({ id, rank, reason, detail }) =>
    line("ERROR", id, rank ?? "-", detail === undefined ? reason : `${reason}: ${detail}`)
})

const serverVerbs: { readonly [verb: string]: readonly [ServerMessage["_tag"], Reader] } = {
  RANK: ["Rank", words("rank", "size", "epoch", "member")],
  EXEC: ["Exec", words("from", "command")],
  OUTPUT: ["Output", changing("text", unescaped, words("rank", "text"))],
  RESULT: ["Result", result("rank")],
  DONE: ["Done", words("ok", "notOk")],
  CANCEL: ["Cancel", nothing],
  TARGETS: ["Targets", targets],
  MEMBER: ["Member", changing("name", undash, words("rank", "member", "name", "address"))],
  END: ["End", words("size", "epoch")],
  JOINED: ["Joined", words("rank", "member")],
  LEFT: ["Left", words("rank", "member", "reason")],
  MOVED: ["Moved", words("from", "to", "member")],
  NAMED: ["Named", words("rank", "member", "name")],
  PING: ["Ping", nothing],
  PONG: ["Pong", optionalText],
  HELP: ["Help", words("text")],
  BYE: ["Bye", words("reason")],
  ERROR: ["Error", error]
}

const decodeServer = Schema.decodeUnknownResult(Schema.toCodecStringTree(ServerMessage))

/** What the server said. Only the very line that `encodeServerLine` writes is accepted: `RANK 01 ...` is malformed. */
const decodeServerLine = (line: string): Result.Result<ServerMessage, Rejection> => {
  const { verb, withId, rest } = split(line)
  const entry = Object.hasOwn(serverVerbs, verb) ? serverVerbs[verb] : undefined
  if (entry === undefined) return Result.fail({ reason: "unknown command" })
  const [tag, read] = entry
  const decoded = decodeServer({ _tag: tag, ...withId, ...strings(read(rest)) })
  return Result.isSuccess(decoded) && encodeServerLine(decoded.success) === line
    ? Result.succeed(decoded.success)
    : Result.fail({ reason: "malformed", detail: `not a ${verb} line` })
}

/** In a string tree numbers are strings. */
const strings = (fields: Fields | undefined): Fields | undefined =>
  typeof fields?.status === "number" ? { ...fields, status: `${fields.status}` } : fields

export const textCodec: Codec = {
  decodeClient: decodeClientLine,
  decodeServer: decodeServerLine,
  encodeClient: encodeClientLine,
  encodeServer: encodeServerLine
}
