/** What happens to a command when its standard output cannot be written. */
import { Effect, Runtime, Schema, type Scope } from "effect"
import { flush, stdout } from "../output/output.ts"
import type { Writer } from "../output/Writer.ts"
import { say } from "../say.ts"
import { stop } from "../signals.ts"
import type { Connecting } from "./flags.ts"

type WriteError = NodeJS.ErrnoException

/** Calls `failed` with an error, and with how many lines are lost, until the scope closes. */
const onOutputError = (failed: (error: WriteError, lines: number) => void): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.sync(() => stdout.onFailure(failed)),
      (unregister) => Effect.sync(unregister)
    )
  )

/** A pipe that is not read any more, and a terminal that was closed. */
const READER_GONE: ReadonlySet<string | undefined> = new Set(["EPIPE", "EIO"])

/** When the reader of the output ends, as `head` does, the command has nothing left to do. */
const endWithReader = ({ code }: WriteError): boolean => {
  const isGone = READER_GONE.has(code)
  if (isGone) stop()
  return isGone
}

/** EX_IOERR of sysexits.h. */
const EX_IOERR = 74

const cannotWrite = ({ message }: WriteError): string => `cannot write the output: ${message}`

/** A result could not be written. */
export class NotWritten extends Schema.TaggedError<NotWritten>()("NotWritten", { message: Schema.String }) {
  override readonly [Runtime.errorExitCode] = EX_IOERR
  override readonly [Runtime.errorReported] = false
}

/** Fails where something could not be written that nobody else reports. */
export const requireWritten = (writer: Writer): Effect.Effect<void, NotWritten> =>
  Effect.suspend(() => {
    const failure = writer.takeFailure()
    return failure === undefined || READER_GONE.has(failure.code)
      ? Effect.void
      : Effect.fail(new NotWritten({ message: cannotWrite(failure) }))
  })

/** For commands whose output is all that they are for: they end. */
export const endWithOutput = Effect.fnUntraced(function* ({ json }: Connecting) {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  const exit = Effect.andThen(
    flush,
    Effect.sync(() => process.exit(EX_IOERR))
  )
  let isEnding = false
  yield* onOutputError((error) => {
    if (isEnding || endWithReader(error)) return
    isEnding = true
    fork(Effect.andThen(say(json, "Failed", cannotWrite(error)), exit))
  })
})

/** How often lost lines are reported, at most. */
const REPORT_INTERVAL_MS = 10_000

/** For commands that do more than print: they go on without the lines, and report how many are missing. */
export const outliveOutput = Effect.fnUntraced(function* ({ json }: Connecting) {
  const run = Effect.runSyncWith(yield* Effect.context<never>())
  let lost = 0
  let reason = ""
  let timer: NodeJS.Timeout | undefined
  const report = () => {
    timer = undefined
    if (lost === 0) return
    const lines = lost === 1 ? "1 line" : `${lost} lines`
    lost = 0
    timer = setTimeout(report, REPORT_INTERVAL_MS).unref()
    run(say(json, "Notice", `${lines} could not be printed: ${reason}`))
  }
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      clearTimeout(timer)
      report()
      clearTimeout(timer)
    })
  )
  yield* onOutputError((error, lines) => {
    if (endWithReader(error)) return
    lost += lines
    reason = error.message
    if (timer === undefined) report()
  })
})
