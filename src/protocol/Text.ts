/**
 * The text encoding: one message, one line, for people with `nc` and for small
 * scripts. Words are separated by exactly one space; the last word of a message
 * takes the rest of the line, so that a command arrives exactly as it was sent.
 *
 * It owns the layout of a line. What the words may be is the schemas' matter
 * (`Message`), where a line ends is `Lines`'.
 */
import { Result, Schema } from "effect"
import { ClientMessage, ServerMessage } from "./Message.ts"

/** Why a line is no message; `detail` is for people. A plain value: a flood of bad lines must not cost a stack trace each. */
export interface Rejection {
  readonly reason: "unknown command" | "malformed"
  readonly detail?: string
}

type Fields = Record<string, unknown>

/** Lays the words after the verb out into fields; undefined where there are too few or too many. */
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

/** `read`, where a field that is `-` is absent. */
const dashed =
  (name: string, read: Reader): Reader =>
  (rest) => {
    const fields = read(rest)
    if (fields?.[name] === "-") delete fields[name]
    return fields
  }

const readError: Reader = (rest) => {
  const fields = dashed("rank", words("rank", "reason"))(rest)
  const [, reason, detail] = /^(.*?)(?:: (.*))?$/s.exec(`${fields?.reason}`) ?? []
  return fields === undefined ? undefined : { ...fields, reason, ...(detail === undefined ? {} : { detail }) }
}

const readTargets: Reader = (rest) => {
  const [count, ...targets] = rest.split(" ")
  return {
    count,
    targets: targets.map((target) => {
      const [rank, member] = target.split(":")
      return { rank, member }
    })
  }
}

/** The verbs of clients: how each is written, and what it means, for `HELP`. */
const clientVerbs: ReadonlyArray<{
  readonly tag: ClientMessage["_tag"]
  readonly usage: string
  readonly read: Reader
  readonly help: string
}> = [
  {
    tag: "Exec",
    usage: "EXEC <to> <command>",
    read: words("to", "command"),
    help: "have <to> execute <command>; <to> is a rank below yours (3), a range (2-5), * or @name"
  },
  { tag: "Explain", usage: "EXPLAIN <to>", read: words("to"), help: "whom a command to <to> would reach" },
  { tag: "Ranks", usage: "RANKS", read: nothing, help: "list the members" },
  { tag: "Watch", usage: "WATCH", read: nothing, help: "list the members, then tell of every change" },
  { tag: "Unwatch", usage: "UNWATCH", read: nothing, help: "stop telling" },
  { tag: "Name", usage: "NAME <name>", read: words("name"), help: "be known as <name>" },
  { tag: "Yield", usage: "YIELD", read: nothing, help: "step down: become the last" },
  { tag: "Ping", usage: "PING [<text>]", read: optionalText, help: "be answered by PONG [<text>]" },
  { tag: "Pong", usage: "PONG [<text>]", read: optionalText, help: "the answer to a PING" },
  { tag: "Help", usage: "HELP", read: nothing, help: "this list" },
  { tag: "Quit", usage: "QUIT", read: nothing, help: "leave" }
]

const verbOf = (line: string): string => /^[^ ]*/.exec(line)![0]

const clientVerb = new Map(clientVerbs.map((entry) => [verbOf(entry.usage), entry]))

/** The answer to `HELP`: a text a line. */
export const helpTexts: ReadonlyArray<string> = clientVerbs.map(({ usage, help }) => `${usage.padEnd(20)} ${help}`)

const decodeClient = Schema.decodeUnknownResult(ClientMessage)

/** What a client said. `line` has no line end and no control characters but TAB. */
export const readClient = (line: string): Result.Result<ClientMessage, Rejection> => {
  const verb = verbOf(line)
  const entry = /^[A-Za-z]+$/.test(verb) ? clientVerb.get(verb.toUpperCase()) : undefined
  if (entry === undefined) return Result.fail({ reason: "unknown command" })
  const fields = entry.read(line.slice(verb.length + 1))
  if (fields === undefined) {
    return Result.fail({ reason: "malformed", detail: `write ${entry.usage}` })
  }
  return Result.mapError(
    decodeClient({ _tag: entry.tag, ...fields }),
    (error): Rejection => ({ reason: "malformed", detail: firstLine(error.message) })
  )
}

const firstLine = (text: string): string => {
  const line = /^[^\n]*/.exec(text)![0]
  return line.charAt(0).toLowerCase() + line.slice(1)
}

const encodeClient = Schema.encodeSync(ClientMessage)

/** The line, without its end, that says `message`. */
export const writeClient = (message: ClientMessage): string => {
  const said = encodeClient(message)
  switch (said._tag) {
    case "Exec":
      return `EXEC ${said.to} ${said.command}`
    case "Explain":
      return `EXPLAIN ${said.to}`
    case "Name":
      return `NAME ${said.name}`
    case "Ping":
    case "Pong":
      return withText(said._tag.toUpperCase(), said.text)
    default:
      return said._tag.toUpperCase()
  }
}

const withText = (verb: string, text: string | undefined): string => (text === undefined ? verb : `${verb} ${text}`)

/** The line, without its end, that says `message`. */
export const writeServer: (message: ServerMessage) => string = ServerMessage.match({
  Rank: ({ rank, size, epoch, member }) => `RANK ${rank} ${size} ${epoch} ${member}`,
  Exec: ({ from, command }) => `EXEC ${from} ${command}`,
  Targets: ({ count, targets }) =>
    ["TARGETS", count, ...targets.map(({ rank, member }) => `${rank}:${member}`)].join(" "),
  Member: ({ rank, member, name, address }) => `MEMBER ${rank} ${member} ${name ?? "-"} ${address}`,
  End: ({ size, epoch }) => `END ${size} ${epoch}`,
  Joined: ({ rank, member }) => `JOINED ${rank} ${member}`,
  Left: ({ rank, member, reason }) => `LEFT ${rank} ${member} ${reason}`,
  Moved: ({ from, to, member }) => `MOVED ${from} ${to} ${member}`,
  Named: ({ rank, member, name }) => `NAMED ${rank} ${member} ${name}`,
  Ping: () => "PING",
  Pong: ({ text }) => withText("PONG", text),
  Help: ({ text }) => `HELP ${text}`,
  Bye: ({ reason }) => `BYE ${reason}`,
  Error: ({ rank, reason, detail }) => `ERROR ${rank ?? "-"} ${reason}${detail === undefined ? "" : `: ${detail}`}`
})

const serverVerbs: { readonly [verb: string]: readonly [ServerMessage["_tag"], Reader] } = {
  RANK: ["Rank", words("rank", "size", "epoch", "member")],
  EXEC: ["Exec", words("from", "command")],
  TARGETS: ["Targets", readTargets],
  MEMBER: ["Member", dashed("name", words("rank", "member", "name", "address"))],
  END: ["End", words("size", "epoch")],
  JOINED: ["Joined", words("rank", "member")],
  LEFT: ["Left", words("rank", "member", "reason")],
  MOVED: ["Moved", words("from", "to", "member")],
  NAMED: ["Named", words("rank", "member", "name")],
  PING: ["Ping", nothing],
  PONG: ["Pong", optionalText],
  HELP: ["Help", words("text")],
  BYE: ["Bye", words("reason")],
  ERROR: ["Error", readError]
}

const decodeServer = Schema.decodeUnknownResult(Schema.toCodecStringTree(ServerMessage))

/** What the server said. Only the very line that `writeServer` writes is accepted: `RANK 01 ...` is malformed. */
export const readServer = (line: string): Result.Result<ServerMessage, Rejection> => {
  const verb = verbOf(line)
  const entry = Object.hasOwn(serverVerbs, verb) ? serverVerbs[verb] : undefined
  if (entry === undefined) return Result.fail({ reason: "unknown command" })
  const [tag, read] = entry
  const decoded = decodeServer({ _tag: tag, ...read(line.slice(verb.length + 1)) })
  return Result.isSuccess(decoded) && writeServer(decoded.success) === line
    ? Result.succeed(decoded.success)
    : Result.fail({ reason: "malformed", detail: `not a ${verb} line` })
}
