/** `rankd connect` for a person: a prompt with the own rank, and above it what the server says, as it comes. */
import { Effect, Result, Stream, SubscriptionRef } from "effect"
import type { Connection } from "../../../client/Connection.ts"
import { type Listed, listed } from "../../../client/memberList.ts"
import type { ServerMessage } from "../../../protocol/Messages.ts"
import { textCodec } from "../../../protocol/text/TextCodec.ts"
import * as Client from "../../connection/client.ts"
import type { Connecting } from "../../connection/flags.ts"
import { ranked } from "../../connection/ranked.ts"
import { json, printable, styled } from "../../terminal/text.ts"
import { cancelAll, cancelling } from "../cancel.ts"
import { OpenCommands } from "../outcomes.ts"
import { read } from "../typed.ts"
import { completions } from "./completions.ts"
import * as LineEditor from "./LineEditor.ts"
import { shown } from "./shown.ts"

class Prompt {
  members: ReadonlyArray<Listed> = []
  readonly #link: Connection
  readonly #json: boolean
  readonly #editor: LineEditor.LineEditor
  readonly #open = new OpenCommands()
  #admitted = false
  /** The next list of members is for the completion of names, not for the person. */
  #listing = false
  #lastRank: string | undefined

  constructor(link: Connection, editor: LineEditor.LineEditor, { json }: Connecting) {
    this.#link = link
    this.#json = json
    this.#editor = editor
    this.#setPrompt()
  }

  heard(message: ServerMessage): Effect.Effect<void> {
    // Printed first: the end of the last command may end the prompt.
    return Effect.tap(this.#heard(message), () => Effect.sync(() => this.#open.heard(message)))
  }

  #heard(message: ServerMessage): Effect.Effect<void> {
    this.members = listed(this.members, message)
    this.#setPrompt()
    if (message._tag === "Welcome") {
      this.#admitted = true
      this.#listing = true
      return Effect.andThen(this.#link.say({ _tag: "Watch" }), this.#show(message))
    }
    if (message._tag === "Roster" && this.#listing) {
      this.#listing = false
      // Only the prompt changes.
      return Effect.sync(() => this.#editor.refresh())
    }
    // Before the welcome, a rank may not be the final one.
    if (message._tag === "Ping" || !this.#admitted || this.#editor.left) return Effect.void
    if (message._tag === "Bye" && message.reason === "quit") {
      return Effect.tap(this.#show(message), () => Effect.sync(() => this.#editor.leave()))
    }
    return this.#show(message)
  }

  readonly broken = Effect.suspend(() => {
    if (!this.#admitted || this.#editor.left) return Effect.void
    this.#admitted = false
    this.members = []
    this.#setPrompt()
    const lost = this.#open.lost()
    return Effect.andThen(
      Effect.forEach(lost, (id) =>
        this.#json
          ? this.#print(json({ _tag: "Result", id, status: "lost" }))
          : this.#print(styled("red", `RESULT#${id} - lost`))
      ),
      this.warn("connection lost; trying again")
    )
  })

  /** Sends a typed line; or prints why not. */
  readonly perform = Effect.fnUntraced({ self: this }, function* (line: string) {
    if (line.trim() === "") return
    // A completed word has a space behind it.
    const typed = read(line.trimEnd(), this.#link)
    if (SubscriptionRef.getUnsafe(this.#link.standing) === undefined) {
      const message = Result.getOrUndefined(typed)
      if (message?._tag === "Quit") return this.#editor.leave()
      if (message?._tag !== "Name") return yield* this.warn("not sent: not connected")
      this.#link.want({ name: message.name })
      return yield* this.#note(`the name will be ${message.name}`)
    }
    if (Result.isFailure(typed)) return yield* this.#show(typed.failure)
    if (typed.success._tag === "Quit") yield* this.cancel
    this.#open.sent(typed.success)
    yield* this.#link.say(typed.success)
  })

  readonly cancel = Effect.suspend(() => cancelAll(this.#link, this.#open, (message) => this.#note(message)))

  /** Ctrl-C cancels what is open. */
  interrupt(cleared: boolean): void {
    const { ids } = this.#open
    for (const id of ids) this.#link.tell({ _tag: "Cancel", id })
    if (ids.length > 0) this.#editor.print(this.#noted(`${cancelling(ids)}; Ctrl-C again quits`))
    else if (!cleared) this.#editor.print(this.#noted("Ctrl-C again, or Ctrl-D, quits"))
  }

  /** In red, where it is for people. */
  warn(message: string): Effect.Effect<void> {
    return this.#print(this.#json ? this.#noted(message) : styled("red", message))
  }

  #note(message: string): Effect.Effect<void> {
    return this.#print(this.#noted(message))
  }

  #noted(message: string): string {
    return this.#json ? json({ _tag: "Notice", message }) : message
  }

  #show(message: ServerMessage): Effect.Effect<void> {
    if (message._tag === "Rank" || message._tag === "Welcome") {
      const rank = textCodec.encodeServer(message)
      // A client that joins another group hears its rank twice.
      if (rank === this.#lastRank) return Effect.void
      this.#lastRank = rank
    }
    return this.#print(this.#json ? json(message) : shown(message))
  }

  #print(text: string): Effect.Effect<void> {
    return Effect.sync(() => this.#editor.print(text))
  }

  #setPrompt(): void {
    const now = SubscriptionRef.getUnsafe(this.#link.standing)
    // A `RANK` comes only when the rank changes; the list always knows the size.
    this.#editor.setPrompt(
      now === undefined ? "not connected> " : `rank ${now.rank} of ${this.members.length || now.size}> `
    )
  }
}

export const run = Effect.fnUntraced(function* (options: Connecting) {
  const link = yield* Client.link(options)
  const editor = yield* LineEditor.make(
    (line) => completions(line, prompt.members),
    (cleared) => prompt.interrupt(cleared)
  )
  const prompt: Prompt = new Prompt(link, editor, options)
  yield* Effect.forkScoped(link.run({ heard: (message) => prompt.heard(message), broken: prompt.broken }))
  yield* ranked(options, link)
  yield* Effect.forkScoped(
    Stream.runForEach(SubscriptionRef.changes(link.refused), (refusal) =>
      refusal === undefined ? Effect.void : prompt.warn(printable(`not admitted: ${refusal.message}; trying again`))
    )
  )
  // Nobody waits any more for what is open, whatever ends the prompt.
  yield* Effect.ensuring(Stream.runForEach(Stream.fromQueue(editor.lines), prompt.perform), prompt.cancel)
}, Effect.scoped)
