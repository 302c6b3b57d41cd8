/**
 * Cuts one client's bytes into lines and executes them in order. The lines of a batch run
 * synchronously, without an effect for each. `advance` returns an effect only if a line must
 * wait, or if it is the turn of other sessions.
 *
 * It owns the unfinished line, the budget of a turn, and the line to repeat. Invariant: only
 * the `Reader` acts on a `Step`.
 */
import { isUtf8 } from "node:buffer"
import { Effect } from "effect"
import { codecAfter, codecOf } from "../../protocol/codecs.ts"
import { Lines, Next } from "../../protocol/Lines.ts"
import { ExecScanner } from "../../protocol/text/ExecScanner.ts"
import { ResultScanner } from "../../protocol/text/ResultScanner.ts"
import type { ClientSession } from "./ClientSession.ts"
import { dispatch } from "./Dispatcher.ts"
import { issueScanned } from "./issuing.ts"
import { beginsTls, judge, TLS_BYTES } from "./otherProtocol.ts"
import { close, DONE, reject, retry, type Step } from "./Step.ts"

/** All sessions share them: a line is finished before the next one, of any session, is scanned. */
const exec = new ExecScanner()
const result = new ResultScanner()

/** The budget of a turn, in untracked `EXEC`s: a few milliseconds of work. */
const TURN = 8192

/** The cost of a tracked `EXEC` or a `RESULT#`, and the cost of a line that Schema decodes. */
const TRACKED_COST = 8
const DECODED_COST = 64

/**
 * The outboxes are flushed after half as many tracked lines as the last batch had, and not
 * only at the end of the batch. So open commands travel in two portions: while the server
 * works on one, the targets work on the other. In a portion smaller than this, the extra
 * write costs more than it gains.
 */
const MIN_PORTION = 32

export class Reader {
  readonly #session: ClientSession
  readonly #lines: Lines
  /** Whether no line was valid yet: a client of another protocol is cut off. */
  #judging = true
  /** Whether to repeat the line that `#lines` found. */
  #repeat = false
  /** The tracked lines in the present batch, and after how many of them the outboxes are flushed. */
  #trackedLines = 0
  #portion = MIN_PORTION

  constructor(session: ClientSession) {
    this.#session = session
    this.#lines = new Lines(session.maxLine)
  }

  /** Adds the next bytes. `advance` must have returned undefined for the ones before. */
  push(chunk: Uint8Array): void {
    const session = this.#session
    session.context.events.stats.bytesReceived += chunk.length
    if (session.lease !== undefined) session.lease.heardAt = session.context.now()
    session.budget = TURN
    this.#portion = Math.max(MIN_PORTION, this.#trackedLines >> 1)
    this.#trackedLines = 0
    this.#lines.push(chunk)
  }

  /** Executes lines until none is left. If an effect must run first, it returns the effect: run it and call again. */
  advance(): Effect.Effect<void> | undefined {
    const session = this.#session
    const { outbox } = session
    // Here, not in `push`: after a wait for another client, this client has been heard, too.
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
        if (next !== Next.Line) {
          this.#endBatch(next)
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

  /** No complete line is left. */
  #endBatch(next: Next): void {
    const session = this.#session
    // A client that speaks TLS waits for an answer, and may never send an LF.
    if (this.#judging && beginsTls(this.#lines.beginning(TLS_BYTES))) {
      session.close("tls")
    } else if (next === Next.TooLong) {
      session.look()
      session.close("line too long")
    } else {
      session.forgetOrder()
    }
  }

  /** @param budget the budget before the line */
  #act(step: NonNullable<Step>, budget: number): Effect.Effect<void> | undefined {
    const session = this.#session
    switch (step._tag) {
      case "Reject":
        session.budget -= DECODED_COST
        this.#sendRejection(step)
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

  #sendRejection({ detail, id, reason }: NonNullable<Step> & { readonly _tag: "Reject" }): void {
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
    const codec = codecOf(bytes[start])
    if (this.#judging) {
      session.budget -= DECODED_COST
      // Before the client gets its rank: one of another protocol gets nothing.
      const judged = judge(codec, this.#lines)
      if (judged === "valid") this.#judging = false
      else if (judged !== undefined) return close(judged)
    }
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
    if (++this.#trackedLines % this.#portion === 0) this.#session.context.outboxes.flushQueue.flush()
  }
}
