/**
 * The program of the watchdog: it ends the command's process group when `lead` cannot. `Watchdog` starts it.
 *
 * It is a Node process of its own, as text: it depends on no file that a package or a bundle may lack. A shell would need
 * three processes (one reads, one keeps the time, one decides), and would start a program for every tick: more than twice the
 * CPU time of this one.
 *
 * It reads lines on standard input, and answers each with a line:
 *
 * | line | meaning | answer |
 * | --- | --- | --- |
 * | `guard <group> <kill after>` | The group runs from now on | `ok` |
 * | `until <monotonic> <uptime>` | The group must have ended when either clock shows this | `ok` |
 * | `stopping` | `lead` ends the group itself | `ok` |
 * | `verdict` | Has the watchdog begun to end the group? | `stopped` or `not stopped` |
 * | `done` | The group has ended | `ok` |
 *
 * All times are in milliseconds. Deadlines are times of clocks that all processes share, so a line that is read late, because
 * the machine was suspended or this process was stopped, prolongs nothing. `/proc/uptime` counts the time of a suspend; the
 * monotonic clock does not, but is there on every system.
 *
 * Invariants: the end of standard input kills the group at once. Before any line counts, the deadline of the lines
 * before it is checked. A group that the watchdog has begun to end is not spared by a later deadline.
 */

/** Names this process in the list of processes, and ends its arguments there. */
export const TITLE = "rankd watchdog"

/** Milliseconds before the deadline at which SIGKILL comes: what is killed takes a moment to end. */
const LAST_MOMENT = 20

/** Milliseconds between two looks at `/proc/uptime`: how long after a suspend the group may run. */
const LOOK = 100

/** The system sends these to a whole service when it stops it, and `lead` ends in order: only then does the watchdog. */
const OUTLIVED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGALRM"]

export const watchdogScript = `
"use strict"
process.title = ${JSON.stringify(TITLE)}
const { readFileSync } = require("node:fs")
for (const signal of ${JSON.stringify(OUTLIVED)}) process.on(signal, () => {})

const monotonic = () => Number(process.hrtime.bigint() / 1000000n)
const uptime = () => {
  try {
    return Number(readFileSync("/proc/uptime", "latin1").split(" ")[0]) * 1000 || -Infinity
  } catch {
    return -Infinity
  }
}

let group, killAfter, deadline, killAt, timer
let stopping = false

const send = (signal) => {
  try {
    process.kill(-group, signal)
  } catch {}
}

const judge = () => {
  clearTimeout(timer)
  if (group === undefined) return
  const now = monotonic()
  const left = deadline === undefined ? Infinity : Math.min(deadline.monotonic - now, deadline.uptime - uptime())
  if (left <= killAfter && !stopping) {
    stopping = true
    killAt = now + killAfter
    send("SIGTERM")
    send("SIGCONT")
  }
  const untilKill = Math.min(left - ${LAST_MOMENT}, killAt === undefined ? Infinity : killAt - now)
  if (untilKill <= 0) {
    killAt = now
    send("SIGKILL")
  }
  const next = Math.min(${LOOK}, stopping ? untilKill : left - killAfter)
  timer = setTimeout(judge, next > 0 ? Math.max(1, next) : ${LOOK})
}

const lines = {
  guard: (pid, after) => {
    group = Number(pid)
    killAfter = Number(after)
  },
  until: (first, second) => {
    deadline = { monotonic: Number(first), uptime: Number(second) }
  },
  stopping: () => {
    stopping = true
  },
  verdict: () => (killAt === undefined ? "not stopped" : "stopped"),
  done: () => {
    group = deadline = killAt = undefined
    stopping = false
  }
}

const gone = () => {
  if (group !== undefined) send("SIGKILL")
  process.exit()
}

let text = ""
process.stdin.setEncoding("latin1").on("data", (data) => {
  judge()
  text += data
  const whole = text.split("\\n")
  text = whole.pop()
  for (const line of whole) {
    const [name, ...values] = line.split(" ")
    process.stdout.write((lines[name](...values) ?? "ok") + "\\n")
  }
  judge()
})
process.stdin.on("end", gone).on("error", gone).on("close", gone)
process.stdout.on("error", gone)
process.on("uncaughtException", gone)
process.stdout.write("ok\\n")
`
