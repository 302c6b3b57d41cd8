/** A real terminal: a tmux session of its own, typed into and read as a person would. */
import { execFile } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { Effect, Schedule } from "effect"

const run = promisify(execFile)

/** Long enough for a start on a loaded machine; what takes so long has failed. */
const DEADLINE = "60 seconds"

/** What is a key, and not text. */
const KEYS = /^(?:Enter|Tab|Up|C-[a-z])$/

let sessions = 0

export interface Terminal {
  /** Types it, as if on a keyboard; `Enter`, `Tab`, `Up` and `C-d` are keys. */
  readonly type: (...keys: ReadonlyArray<string>) => Effect.Effect<void>
  /** What is on the screen now, without colours. */
  readonly screen: Effect.Effect<string>
  /** The same, and what has left the screen at its top. */
  readonly scrolled: Effect.Effect<string>
  /** The screen with escape sequences, as tmux writes them. */
  readonly colours: Effect.Effect<string>
  /** Closes the terminal, as a person closes its window. */
  readonly close: Effect.Effect<void>
  readonly resize: (columns: number, rows: number) => Effect.Effect<void>
  /** All that the command has written, byte by byte. */
  readonly raw: Effect.Effect<string>
  /** Waits until the screen shows it; succeeds with the screen. */
  readonly shows: (pattern: RegExp) => Effect.Effect<string>
}

/** A terminal of 80 columns and 24 rows, running a command of `sh`, until the scope closes. tmux has to be installed. */
export const terminal = Effect.fnUntraced(function* (command: string) {
  // A server for each: one that ends takes no other along.
  const server = ["-L", `rankd-test-${process.pid}-${++sessions}`]
  const tmux = (...args: ReadonlyArray<string>) =>
    Effect.orDie(Effect.tryPromise(() => run("tmux", [...server, "-f", "/dev/null", ...args])))
  yield* Effect.acquireRelease(
    // The shell stays, so that the screen does when the command has ended.
    tmux("new-session", "-d", "-x", "80", "-y", "24", `${command}; echo "[exit $?]"; cat`),
    () => Effect.ignore(Effect.exit(tmux("kill-server")))
  )
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-tmux-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true }))
  )
  const log = join(folder, "raw")
  yield* tmux("pipe-pane", "-O", `cat > ${log}`)
  const capture = (...args: ReadonlyArray<string>) =>
    Effect.map(tmux("capture-pane", "-p", ...args), ({ stdout }) => stdout.trimEnd())
  const screen = capture()
  return {
    type: (...keys) =>
      Effect.forEach(keys, (key) => tmux("send-keys", ...(KEYS.test(key) ? [key] : ["-l", key])), { discard: true }),
    screen,
    scrolled: capture("-S", "-"),
    resize: (columns, rows) => Effect.asVoid(tmux("resize-window", "-x", `${columns}`, "-y", `${rows}`)),
    raw: Effect.sync(() => readFileSync(log, "utf8")),
    close: Effect.asVoid(tmux("kill-session")),
    colours: capture("-e"),
    shows: (pattern) =>
      screen.pipe(
        Effect.flatMap((screen) => (pattern.test(screen) ? Effect.succeed(screen) : Effect.fail(screen))),
        Effect.retry(Schedule.spaced("30 millis")),
        Effect.timeoutOrElse({
          duration: DEADLINE,
          orElse: () => Effect.flatMap(screen, (screen) => Effect.die(new Error(`no ${pattern} on\n${screen}`)))
        }),
        Effect.orDie
      )
  } satisfies Terminal
})
