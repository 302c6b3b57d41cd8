/** How a command that connects to a server ends when it fails. `message` says what to do. */
import { Runtime, Schema } from "effect"

/** Flags that do not go together, or a file without what it should contain. */
export class Unusable extends Schema.TaggedError<Unusable>()("Unusable", { message: Schema.String }) {
  override readonly [Runtime.errorExitCode] = 2
  override readonly [Runtime.errorReported] = false
}

/** No server admits the client. */
export class NoServer extends Schema.TaggedError<NoServer>()("NoServer", { message: Schema.String }) {
  /** EX_UNAVAILABLE of sysexits.h. */
  override readonly [Runtime.errorExitCode] = 69
  override readonly [Runtime.errorReported] = false
}

/** The command to run does not start. The status is that of a shell. */
export class NotRun extends Schema.TaggedError<NotRun>()("NotRun", { message: Schema.String, status: Schema.Int }) {
  override readonly [Runtime.errorReported] = false
  override get [Runtime.errorExitCode]() {
    return this.status
  }
}

/** Ends the process with this status and prints nothing. */
export class ExitStatus extends Schema.TaggedError<ExitStatus>()("ExitStatus", { status: Schema.Int }) {
  override readonly [Runtime.errorReported] = false
  override get [Runtime.errorExitCode]() {
    return this.status
  }
}
