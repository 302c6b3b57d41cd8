/**
 * `rankd connect` for a person: a prompt that shows the own rank, under what the
 * server says as it comes. Node's readline edits the line, completes it and keeps
 * the history; this module sees to what stands above it.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { homedir } from "node:os"
import { join } from "node:path"
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from "node:readline"
import { type Cause, Effect, Queue, Result, Stream, SubscriptionRef } from "effect"
import { type Listed, listed } from "../client/memberList.ts"
import type { ServerMessage } from "../protocol/Messages.ts"
import { helpTexts, textCodec } from "../protocol/text/TextCodec.ts"
import * as Connection from "./connection.ts"
import { exitStatusOf, OpenCommands } from "./outcomes.ts"
import { json, printable, styled } from "./terminal.ts"
import { read } from "./typed.ts"

const HISTORY_LINES = 1000

const verbs = [...new Set(helpTexts.map((text) => /^[A-Z]+/.exec(text)![0]))]

/** What a word may become: a verb at first, and whom a command is for, by name, after that. */
const completions = (line: string, members: ReadonlyArray<Listed>): [Array<string>, string] => {
  const [, before, word] = /^(.*?)([^ ]*)$/s.exec(line)!
  const starting = (candidates: ReadonlyArray<string>) =>
    candidates.filter((candidate) => candidate.startsWith(word!)).map((candidate) => `${candidate} `)
  if (before === "") {
    const upper = word!.toUpperCase()
    return [verbs.filter((verb) => verb.startsWith(upper)).map((verb) => `${verb} `), word!]
  }
  if (!/^(?:exec(?:#[^ ]*)?|explain) $/i.test(before!)) return [[], word!]
  const names = members.map(({ member, name }) => `@${name ?? member}`)
  return [starting(["*", ...names]), word!]
}

/** The outcome or the output of a command, as its executor wrote it: on lines of its own, where it wrote several. */
const withOutput = (head: string, output: string, truncated: boolean | undefined): string => {
  const lines = printable(output).replace(/\n$/, "").split("\n")
  if (truncated) lines.push("(truncated)")
  return lines.length === 1 ? `${head} ${lines[0]}`.trimEnd() : [head, ...lines.map((line) => `  ${line}`)].join("\n")
}

/** What the server says, for a person: what it is about at a glance, by colour. */
const shown = (message: ServerMessage): string => {
  const style = exitStatusOf(message) === 0 ? "green" : "red"
  switch (message._tag) {
    case "Result": {
      const { output = "", truncated, ...result } = message
      return withOutput(styled(style, textCodec.encodeServer(result)), output, truncated)
    }
    case "Output":
      return withOutput(`OUTPUT#${message.id} ${message.rank}`, message.text, false)
    case "Done":
      return styled(message.notOk === 0 ? "green" : "red", textCodec.encodeServer(message))
    case "Error":
      return styled("red", printable(textCodec.encodeServer(message)))
    case "Exec":
      return styled("yellow", printable(textCodec.encodeServer(message)))
    case "Rank":
    case "Welcome":
    case "Joined":
    case "Left":
    case "Moved":
    case "Named":
      return styled("dim", textCodec.encodeServer(message))
    default:
      return printable(textCodec.encodeServer(message))
  }
}

/** Where the lines that were typed are kept; nowhere, if RANKD_HISTORY is empty. */
const historyFile = process.env.RANKD_HISTORY ?? join(homedir(), ".rankd_history")

const pastLines = (): Array<string> => {
  try {
    return readFileSync(historyFile, "utf8").split("\n").filter(Boolean)
  } catch {
    return []
  }
}

/** A token is to be kept nowhere. */
const isNoSecret = (line: string) => !/^\s*auth\b|"token"/i.test(line)

const keepLines = (lines: ReadonlyArray<string>) => {
  if (historyFile === "") return
  try {
    writeFileSync(
      historyFile,
      lines
        .filter(isNoSecret)
        .map((line) => `${line}\n`)
        .join(""),
      { mode: 0o600 }
    )
  } catch {
    // A history that cannot be kept is no reason to stop.
  }
}

/** Writes above the line that is being typed. */
const writeAbove = (terminal: Interface, text: string) => {
  moveCursor(process.stdout, 0, -terminal.getCursorPos().rows)
  cursorTo(process.stdout, 0)
  clearScreenDown(process.stdout)
  process.stdout.write(`${text}\n`)
  // readline would go up again by the rows that the line had.
  Object.assign(terminal, { prevRows: 0 })
  terminal.prompt(true)
}

export const run = Effect.fnUntraced(function* (options: Connection.Connecting) {
  const link = yield* Connection.link(options)
  const open = new OpenCommands()
  const typed = yield* Queue.unbounded<string, Cause.Done>()
  let members: ReadonlyArray<Listed> = []
  let admitted = false
  /** Whether the next list of members was asked for by this module, for the names to complete. */
  let listing = false
  let lastRank: string | undefined

  const terminal = yield* Effect.acquireRelease(
    Effect.sync(() =>
      createInterface({
        input: process.stdin,
        output: process.stdout,
        history: pastLines(),
        historySize: HISTORY_LINES,
        removeHistoryDuplicates: true,
        completer: (line: string) => completions(line, members)
      })
    ),
    (terminal) =>
      Effect.sync(() => {
        // The shell's prompt takes the place of this one.
        cursorTo(process.stdout, 0)
        clearScreenDown(process.stdout)
        terminal.close()
      })
  )
  const setPrompt = () => {
    const now = SubscriptionRef.getUnsafe(link.standing)
    // Who is told its rank only when that changes learns of the size from the list.
    terminal.setPrompt(now === undefined ? "not connected> " : `rank ${now.rank} of ${members.length || now.size}> `)
  }

  terminal
    .on("line", (line) => {
      terminal.prompt()
      Queue.offerUnsafe(typed, line)
    })
    .on("history", keepLines)
    .on("close", () => {
      // It is this command that leaves.
      admitted = false
      Queue.endUnsafe(typed)
    })
    // After a stop, the line is there to be gone on with.
    .on("SIGCONT", () => terminal.prompt(true))
    .on("SIGINT", () => {
      if (terminal.line === "") return terminal.close()
      terminal.write(null, { ctrl: true, name: "e" })
      terminal.write(null, { ctrl: true, name: "u" })
    })
  setPrompt()
  const print = (text: string) => Effect.sync(() => writeAbove(terminal, text))
  const show = (message: ServerMessage) => print(options.json ? json(message) : shown(message))

  const heard = Effect.fnUntraced(function* (message: ServerMessage) {
    open.heard(message)
    members = listed(members, message)
    setPrompt()
    if (message._tag === "Welcome") {
      admitted = true
      listing = true
      yield* link.say({ _tag: "Watch" })
    }
    if (message._tag === "Roster" && listing) {
      listing = false
      // Only the prompt changes.
      return terminal.prompt(true)
    }
    // Before it is welcomed it is told a rank that it may not keep.
    if (message._tag === "Ping" || !admitted) return
    if (message._tag === "Rank" || message._tag === "Welcome") {
      const rank = textCodec.encodeServer(message)
      // Who joins another group is told it twice.
      if (rank === lastRank) return
      lastRank = rank
    }
    yield* show(message)
    if (message._tag === "Bye" && message.reason === "quit") {
      admitted = false
      Queue.endUnsafe(typed)
    }
  })

  const broken = Effect.gen(function* () {
    if (!admitted) return
    admitted = false
    members = []
    setPrompt()
    for (const id of open.lost()) yield* print(styled("red", `RESULT#${id} - lost`))
    yield* print(styled("red", "connection lost; trying again"))
  })

  const perform = Effect.fnUntraced(function* (line: string) {
    if (line.trim() === "") return
    // A completed word has a space behind it.
    const said = read(line.trimEnd(), link)
    if (SubscriptionRef.getUnsafe(link.standing) === undefined) {
      const message = Result.getOrUndefined(said)
      if (message?._tag === "Quit") return Queue.endUnsafe(typed)
      if (message?._tag !== "Name") return yield* print(styled("red", "not sent: not connected"))
      link.want({ name: message.name })
      return yield* print(`will ask to be ${message.name}`)
    }
    if (Result.isFailure(said)) return yield* show(said.failure)
    open.said(said.success)
    yield* link.say(said.success)
  })

  yield* Effect.forkScoped(link.run({ heard, broken }))
  yield* Connection.ranked(options, link)
  yield* Effect.forkScoped(
    Stream.runForEach(SubscriptionRef.changes(link.refused), (why) =>
      why === undefined ? Effect.void : print(styled("red", printable(`not admitted: ${why.message}; trying again`)))
    )
  )
  yield* Stream.runForEach(Stream.fromQueue(typed), perform)
}, Effect.scoped)
