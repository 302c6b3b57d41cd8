/**
 * The open tracked commands. A command is open until each of its targets, a
 * *task*, has ended; a task ends exactly once, whatever happens to whom in
 * whatever order: by the executor's result, or by what kept it from giving one.
 * Whoever ends a task first ends it; what comes later is dropped, and counted.
 * What the issuer is not there to be told, the log is.
 *
 * A command costs no fiber and no timer: one sweep looks for those that ran out
 * of time. It knows nothing of ranks but the number to report.
 */
import type { Scope } from "effect"
import { Clock, Duration, Effect, Latch } from "effect"
import { Line } from "../../protocol/LineBytes.ts"
import type { ClientMessage, ServerMessage, Status } from "../../protocol/Messages.ts"
import type { ResultScanner } from "../../protocol/text/ResultScanner.ts"
import type { FlushQueue } from "../outbound/FlushQueue.ts"
import type { Outbox } from "../outbound/Outbox.ts"
import { type Client, NO_COMMANDS } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import { Task, Tasks } from "./Delivery.ts"

/** One issuer's command. */
export interface Command {
  /** What the issuer calls it. */
  readonly id: string
  /** None once it has left: the outcomes are then logged, and told to nobody. */
  issuer: Client | undefined
  /** The member id of the issuer. */
  readonly by: string | undefined
  /** Whether it was for a range or everyone, so that `Done` tells the end of all. */
  readonly several: boolean
  /** In milliseconds, on the server's clock. */
  deadline: number
  /** How those of its tasks end that have not yet, where it was withdrawn or ran out of time. */
  stopped: "cancelled" | "timeout" | undefined
  tasks: Array<Task>
  /** Of the tasks, how many are open, and which is the first that `stopped` is yet to end. */
  open: number
  next: number
  ok: number
  notOk: number
}

/** Never added to. */
const NO_TASKS: Array<Task> = []

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/** How often it is looked whether commands have run out of time. */
const SWEEP_INTERVAL = "100 millis"

/** Outcomes on one line of the log, at most. */
const AUDITED_TOGETHER = 100

/** What an executor says of a task. */
type Report = ClientMessage & { readonly _tag: "Output" | "Result" }

export interface Commands {
  /** Whether so many targets more may have commands that are open. */
  readonly isRoomFor: (targets: number) => boolean
  /** Opens a command; there must be none of this id. All its tasks, one at least, are to be added before one ends. */
  readonly open: (issuer: Client, id: string, several: boolean, timeout: number) => Command
  readonly add: (command: Command, rank: number, target: Client) => Task
  /** Ends the task, unless it has ended. */
  readonly finish: (task: Task, status: Status, more?: { output?: string; truncated?: boolean }) => void
  /**
   * What the client says of a task goes to the issuer, cut to a line where it has
   * to be; what is not of an open task of this client's is dropped, and counted.
   * Where the issuer is congested nothing is done: to be reported anew when the
   * outbox that is returned is writable.
   */
  readonly report: (client: Client, message: Report) => Outbox | undefined
  /** The same of a `RESULT#` whose line ends at `lineEnd` of the bytes: what comes in hundreds of thousands. */
  readonly reportResult: (
    client: Client,
    result: ResultScanner,
    bytes: Uint8Array,
    lineEnd: number
  ) => Outbox | undefined
  /** Withdraws a command: each executor is told, and the issuer gets its outcomes as fast as it reads them. */
  readonly cancel: (command: Command) => void
  /** Succeeds when no command is open. */
  readonly idle: Effect.Effect<void>
  /** The client can execute no more: it has left its group. */
  readonly abandon: (client: Client) => void
  /** The client's own commands go on without it; not for longer than a command may take that says nothing of it. */
  readonly orphan: (client: Client) => void
}

/** As much of `text` as fits a line to the client: escapes make it longer than it came. */
const fitting = (client: Client, text: string, maxLine: number, message: (text: string) => ServerMessage): string => {
  let part = text
  for (;;) {
    const size = Buffer.byteLength(client.write(message(part))) + 1
    if (size <= maxLine || part === "") return part
    // Half of a surrogate pair may not stay behind.
    part = part.slice(0, Math.floor(part.length * (maxLine / size))).replace(/[\ud800-\udbff]$/, "")
  }
}

/** Of the settings, `commandTimeout` is also for how long a command goes on at most whose issuer has left. */
export const make = Effect.fnUntraced(function* (
  touched: FlushQueue,
  { commandTimeout, maxLine, maxOpenTargets }: SettingsValues
): Effect.fn.Return<Commands, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const tasks = new Tasks()
  /** Whether there is anything to sweep, or to log. */
  const any = Latch.makeUnsafe(false)
  /** What is waited for until no command is open; most of the time nobody waits. */
  let idle: Latch.Latch | undefined
  let lastTaskId = 0
  let dropped = 0
  let droppedBefore = 0
  /** The outcomes that nobody was told, and that are not logged yet, by command. */
  const unheard = new Map<Command, Array<string>>()

  /** In a microtask: it resumes a fiber there and then, and this may be in the middle of a batch. */
  const wake = (latch: Latch.Latch) => queueMicrotask(() => latch.openUnsafe())
  const wakeSweep = () => wake(any)

  /** Ends the task, and has `say` tell the issuer so, if it is there. */
  const end = (task: Task, status: Status, say: (issuer: Client, id: string, rank: number) => void) => {
    if (task.ended) return
    task.ended = true
    tasks.delete(task)
    const { command, rank, target } = task
    command.open--
    if (status === 0) command.ok++
    else command.notOk++
    if (idle !== undefined && tasks.size === 0) wake(idle)
    const { id, issuer } = command
    if (issuer === undefined) {
      const outcomes = unheard.get(command) ?? []
      unheard.set(command, outcomes)
      outcomes.push(`${target.member}=${status}`)
      return
    }
    say(issuer, id, rank)
    if (command.open > 0) return
    if (command.several) issuer.say({ _tag: "Done", id, ok: command.ok, notOk: command.notOk })
    issuer.commands.delete(id)
  }

  const finish: Commands["finish"] = (task, status, more = {}) =>
    end(task, status, (issuer, id, rank) => issuer.say({ _tag: "Result", id, rank, status, ...more }))

  const drop = () => {
    dropped++
    // For the next sweep to say so.
    wakeSweep()
    return undefined
  }

  const report: Commands["report"] = (client, message) => {
    // An id that is written otherwise is another id.
    const number = Number(message.id)
    const task = `${number}` === message.id ? tasks.get(number) : undefined
    if (task?.target !== client) return drop()
    const { command, rank } = task
    const { id, issuer } = command
    if (issuer?.outbox.congested) return issuer.outbox
    if (message._tag === "Output") {
      const say = (text: string) => ({ _tag: "Output", id, rank, text }) as const
      if (issuer !== undefined) issuer.say(say(fitting(issuer, message.text, maxLine, say)))
      return undefined
    }
    const { output, status, truncated } = message
    const result = (output: string) => ({ _tag: "Result", id, rank, status, output, truncated: true }) as const
    const text = issuer === undefined || output === undefined ? output : fitting(issuer, output, maxLine, result)
    finish(task, status, {
      ...(text === undefined ? {} : { output: text }),
      ...(text !== output ? { truncated: true } : truncated === undefined ? {} : { truncated })
    })
    return undefined
  }

  const line = new Line()
  const { head } = line

  const reportResult: Commands["reportResult"] = (client, { id: number, output, status }, bytes, lineEnd) => {
    const task = tasks.get(number)
    if (task?.target !== client) return drop()
    const { command, rank } = task
    const { id, issuer } = command
    const text = output < lineEnd
    head.write("RESULT#").text(id).text(" ").number(rank).text(" ").number(status)
    if (text) head.text(" ")
    if (issuer?.encoding !== "text" || head.length + (lineEnd - output) + 1 > maxLine) {
      const whole = text ? { output: utf8.decode(bytes.subarray(output, lineEnd)) } : {}
      return report(client, { _tag: "Result", id: `${number}`, status, ...whole })
    }
    if (issuer.outbox.congested) return issuer.outbox
    line.bytes = bytes
    line.start = output
    line.end = lineEnd
    end(task, status, ({ outbox }) => outbox.appendLineOf(line))
    return undefined
  }

  /**
   * Ends the tasks of the command that are open, and tells their executors to
   * stop; as many as the issuer takes the outcomes of. The next sweep goes on.
   */
  const stop = (command: Command, status: "cancelled" | "timeout") => {
    command.stopped ??= status
    for (; command.next < command.tasks.length; command.next++) {
      const task = command.tasks[command.next]!
      if (task.ended) continue
      if (command.issuer?.outbox.congested) return
      if (task.sent) task.target.say({ _tag: "Cancel", id: `${task.id}` })
      finish(task, command.stopped)
    }
  }

  /** The audit log of what nobody was told; one line for many outcomes, of which a command may have thousands. */
  const audit = Effect.gen(function* () {
    const ended = [...unheard]
    // More may end while this is logged.
    unheard.clear()
    for (const [{ by, id }, outcomes] of ended) {
      for (let from = 0; from < outcomes.length; from += AUDITED_TOGETHER) {
        const some = outcomes.slice(from, from + AUDITED_TOGETHER).join(" ")
        yield* Effect.annotateLogs(Effect.logInfo("ended without its issuer"), { issuer: by, id, outcomes: some })
      }
    }
    if (dropped > droppedBefore) yield* Effect.annotateLogs(Effect.logDebug("dropped late results"), { dropped })
    droppedBefore = dropped
  })
  yield* Effect.addFinalizer(() => audit)

  yield* Effect.forkScoped(
    Effect.gen(function* () {
      yield* any.await
      yield* Effect.sleep(SWEEP_INTERVAL)
      const now = clock.currentTimeMillisUnsafe()
      for (const { command } of tasks.list()) {
        if (command.deadline > now && command.stopped === undefined) continue
        stop(command, "timeout")
        touched.flush()
      }
      yield* audit
      if (tasks.size === 0) any.closeUnsafe()
    }).pipe(Effect.forever)
  )

  return {
    isRoomFor: (targets) => tasks.size + targets <= maxOpenTargets,
    open: (issuer, id, several, timeout) => {
      const deadline = clock.currentTimeMillisUnsafe() + timeout
      const { member: by } = issuer
      const command: Command = {
        id,
        issuer,
        by,
        several,
        deadline,
        stopped: undefined,
        tasks: NO_TASKS,
        open: 0,
        next: 0,
        ok: 0,
        notOk: 0
      }
      if (issuer.commands === NO_COMMANDS) issuer.commands = new Map()
      issuer.commands.set(id, command)
      return command
    },
    add: (command, rank, target) => {
      const task = new Task(++lastTaskId, command, rank, target)
      tasks.add(task)
      // Most commands have one: an empty array that is grown would take room for many.
      if (command.tasks.length === 0) command.tasks = [task]
      else command.tasks.push(task)
      command.open++
      if (tasks.size === 1) wakeSweep()
      return task
    },
    finish,
    report,
    reportResult,
    idle: Effect.suspend(() => {
      if (tasks.size === 0) return Effect.void
      idle ??= Latch.makeUnsafe(false)
      return idle.await
    }),
    cancel: (command) => stop(command, "cancelled"),
    abandon: (client) => {
      let first = client.lastTask
      while (first?.earlier !== undefined) first = first.earlier
      for (let task = first, later: Task | undefined; task !== undefined; task = later) {
        later = task.later
        finish(task, task.sent ? "lost" : "undelivered")
      }
    },
    orphan: (client) => {
      const latest = clock.currentTimeMillisUnsafe() + Duration.toMillis(commandTimeout)
      for (const command of client.commands.values()) {
        command.issuer = undefined
        command.deadline = Math.min(command.deadline, latest)
      }
      client.commands = NO_COMMANDS
    }
  }
})
