/**
 * Reads one client's bytes as lines and has each done, in order. The lines of a batch
 * are done in one go, without an effect for each; `advance` gives way with an effect
 * only where a line must wait or other sessions get their turn.
 *
 * It owns what is not read to its end, the budget of a turn, and the line that is to be
 * repeated. It alone acts on a `Step`.
 */
import { isUtf8 } from "node:buffer"
import { Effect } from "effect"
import { codecAfter, codecOf } from "../../protocol/codecs.ts"
import { Lines, Next } from "../../protocol/Lines.ts"
import { ExecScanner } from "../../protocol/text/ExecScanner.ts"
import { ResultScanner } from "../../protocol/text/ResultScanner.ts"
import type { ClientSession } from "./ClientSession.ts"
import { dispatch } from "./Dispatcher.ts"
import { looksLikeHttp } from "./http.ts"
import { issueScanned } from "./issuing.ts"
import { close, DONE, reject, retry, type Step } from "./Step.ts"

/** All sessions share them: a line is done before the next line of anybody is scanned. */
const exec = new ExecScanner()
const result = new ResultScanner()

/** A turn, in deliveries: a few milliseconds of work. */
const TURN = 8192

/** What other lines cost than an untracked `EXEC`: a tracked one, a `RESULT#`; and one that Schema decodes. */
const TRACKED_COST = 8
const DECODED_COST = 64

/**
 * Half of as many tracked lines as the last batch had are written at once, and not only
 * when the rest is done: what is open then goes round in two lumps, and while the server
 * works on one, the targets work on the other. Fewer lines than these cost more to write
 * by themselves than that gains.
 */
const MIN_LUMP = 32

export class Reader {
  readonly #session: ClientSession
  readonly #lines: Lines
  #first = true
  /** Whether the line that `#lines` found is to be repeated. */
  #repeat = false
  /** Tracked lines in the present batch, and after how many of them the server writes what they led to. */
  #trackedLines = 0
  #lump = MIN_LUMP

  constructor(session: ClientSession) {
    this.#session = session
    this.#lines = new Lines(session.maxLine)
  }

  push(chunk: Uint8Array): void {
    const session = this.#session
    session.context.events.stats.bytesReceived += chunk.length
    session.budget = TURN
    this.#lump = Math.max(MIN_LUMP, this.#trackedLines >> 1)
    this.#trackedLines = 0
    this.#lines.push(chunk)
  }

  /** Does lines until there is no further one, or until an effect has to run first, which it returns. */
  advance(): Effect.Effect<void> | undefined {
    const session = this.#session
    const { outbox } = session
    // Here and not in `push`: after a wait for another client it is there as well.
    session.heard = true
    this.#lines.limit = session.maxLine
    while (session.state._tag !== "Closing") {
      if (outbox.readPaused) return outbox.drained
      if (session.budget <= 0) {
        session.budget = TURN
        return Effect.yieldNow
      }
      if (!this.#repeat) {
        const next = this.#lines.next()
        if (next === Next.More) {
          session.forgetOrder()
          return undefined
        }
        if (next === Next.TooLong) {
          session.look()
          session.close("line too long")
          return undefined
        }
      }
      this.#repeat = false
      const budget = session.budget
      const step = this.#line()
      if (step === DONE) continue
      const effect = this.#act(step, budget)
      if (effect !== undefined) return effect
    }
    return undefined
  }

  /** @param budget what there was of it before the line */
  #act(step: NonNullable<Step>, budget: number): Effect.Effect<void> | undefined {
    const session = this.#session
    switch (step._tag) {
      case "Reject":
        session.budget -= DECODED_COST
        this.#sayRejected(step)
        return step.thenYield ? Effect.yieldNow : undefined
      case "Retry": {
        session.budget = budget
        this.#repeat = true
        const { state } = session
        if (step.charged && state._tag === "Seated") state.bearer.rate?.giveBack()
        return step.until
      }
      case "Wait":
        return Effect.flatMap(step.effect, (next) =>
          next === DONE ? Effect.void : (this.#act(next, budget) ?? Effect.void)
        )
      case "Close":
        session.close(step.cause)
        return undefined
    }
  }

  #sayRejected({ detail, id, reason }: NonNullable<Step> & { readonly _tag: "Reject" }): void {
    const session = this.#session
    const { context, state } = session
    session.send({
      _tag: "Error",
      reason,
      ...(state._tag === "Seated" ? { rank: state.rank } : {}),
      ...(detail === undefined ? {} : { detail }),
      ...(id === undefined ? {} : { id })
    })
    context.events.rejected(session.address, session.member || undefined, reason)
  }

  #line(): Step {
    const { bytes, control, end, start, wide } = this.#lines
    const session = this.#session
    session.budget--
    if (this.#first) {
      this.#first = false
      // However malformed it is otherwise.
      if (looksLikeHttp(bytes, start, end)) return close("http")
    }
    const codec = codecOf(bytes[start])
    if (codec !== session.codec) session.codec = codecAfter(session.codec, codec)
    session.look()
    if ((control && !codec.judgesControls) || (wide && !isUtf8(bytes.subarray(start, end)))) {
      return reject("malformed", "a line is UTF-8 without control characters")
    }
    const { state } = session
    if (state._tag === "Seated") {
      if (exec.scan(bytes, start, end)) {
        if (exec.idEnd > exec.idStart) this.#spendTracked()
        return issueScanned(session, state, exec, bytes, start, end)
      }
      if (result.scan(bytes, start, end)) {
        this.#spendTracked()
        const congested = session.context.commands.reportResult(session, result, bytes, end)
        return congested && retry(congested.writable)
      }
    }
    session.budget -= DECODED_COST
    return dispatch(session, codec, bytes.subarray(start, end))
  }

  #spendTracked(): void {
    this.#session.budget -= TRACKED_COST
    if (++this.#trackedLines % this.#lump === 0) this.#session.context.outboxes.flushQueue.flush()
  }
}
