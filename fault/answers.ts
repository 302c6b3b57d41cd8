/** The answers that docs/protocol.md allows for each line. */
import type { ClientMessage, ServerMessage } from "../src/protocol/Messages.ts"
import type { Reason } from "../src/protocol/Reasons.ts"
import type { Said } from "./decoder.ts"

type Tag = ServerMessage["_tag"]

/** Messages that may come at any time. */
export const UNASKED = new Set<Tag>([
  "Rank",
  "Exec",
  "Output",
  "Result",
  "Done",
  "Cancel",
  "Joined",
  "Left",
  "Moved",
  "Named",
  "Ping"
])

const REACH: ReadonlyArray<Reason> = ["rank too high", "no such rank", "no such member", "nobody below"]

interface Rule {
  /** The answers in this order, one or more of each; an error may replace them all. */
  readonly answer?: ReadonlyArray<Tag>
  /** Whether there may be no answer. */
  readonly silent?: boolean
  readonly reasons?: ReadonlyArray<Reason>
}

const RULES: { readonly [tag in ClientMessage["_tag"]]: Rule } = {
  Exec: {
    silent: true,
    reasons: [...REACH, "malformed", "busy", "stale epoch", "duplicate id", "too many open commands", "rate limited"]
  },
  Cancel: { silent: true, reasons: ["no such command"] },
  Output: { silent: true },
  Result: { silent: true },
  Pong: { silent: true },
  Unwatch: { silent: true },
  Explain: { answer: ["Targets"], reasons: REACH },
  Ranks: { answer: ["Member", "End"] },
  Watch: { answer: ["Member", "End"] },
  Whois: { answer: ["Member"], reasons: ["no such member"] },
  // The answers to these may also come unasked.
  Name: { silent: true, reasons: ["name taken"] },
  Join: { silent: true, reasons: ["name taken", "server full"] },
  Yield: { silent: true },
  Ping: { answer: ["Pong"], reasons: ["malformed"] },
  Help: { answer: ["Help"] },
  Auth: { reasons: ["not authorized"] },
  Hello: { answer: ["Welcome"], reasons: ["malformed", "name taken", "server full", "not authorized"] },
  Quit: { answer: ["Bye"] }
}

/** Verbs that need no rank. */
const FOR_ANYBODY = new Set<ClientMessage["_tag"]>(["Hello", "Join", "Ping", "Pong", "Help", "Auth", "Quit"])

/** A message that must come as well, unless the server rejects the line. */
const ALSO: { readonly [tag in ClientMessage["_tag"]]?: Tag } = { Name: "Named", Join: "Rank", Yield: "Rank" }

/** Why these answers are wrong; undefined if they are right. */
export const wrongWith = (said: Said, ranked: boolean, heard: ReadonlyArray<ServerMessage>): string | undefined => {
  const answers = heard.filter(({ _tag }) => !UNASKED.has(_tag))
  const tags = answers.map(({ _tag }) => (_tag === "Roster" ? "End" : _tag))
  const errors = answers.filter((answer) => answer._tag === "Error")
  if (errors.length > 1 || (errors.length === 1 && answers.length > 1)) return "an error is not the only answer"
  const [error] = errors
  if (said._tag === "Failure") {
    const { id, reason } = said.failure
    return error?.reason === reason && error.id === id ? undefined : `expected ${reason}`
  }
  const message = said.success
  const id = message._tag === "Exec" ? message.id : undefined
  if (!ranked && !FOR_ANYBODY.has(message._tag)) {
    return error?.reason === "not authorized" && error.id === id ? undefined : "expected not authorized"
  }
  const { answer = [], reasons = [], silent = false } = RULES[message._tag]
  if (error !== undefined) {
    if (!reasons.includes(error.reason)) return `${error.reason} is no reason for it`
    // For a command that has reached some targets it is not the end.
    return error.id === id || error.reason === "busy" ? undefined : "not about this command"
  }
  const also = ALSO[message._tag]
  if (also !== undefined && !heard.some(({ _tag }) => _tag === also)) return `${also} is missing`
  if (tags.length === 0) return silent ? undefined : "no answer"
  if (!tags.every((tag) => answer.includes(tag)) || tags.at(-1) !== answer.at(-1)) return "not what answers it"
  if (message._tag === "Ping" && (answers.length > 1 || (answers[0] as { text?: string }).text !== message.text)) {
    return "not the same text"
  }
  return tags.filter((tag) => tag === answer.at(-1)).length > 1 && message._tag !== "Help"
    ? "answered twice"
    : undefined
}
