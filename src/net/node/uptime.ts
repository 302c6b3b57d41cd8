/** The uptime of the machine, on Linux. Unlike the monotonic clock of Node it counts the time of a suspend. */
import { openSync, readSync } from "node:fs"

/** `/proc/uptime` is a line such as `350735.47 234388.90`: seconds since the start, in steps of 10 ms, and idle time. */
const MAX_BYTES = 64

/** Opened once: a read is all that a look at the clock costs. */
const open = (): number | undefined => {
  try {
    return openSync("/proc/uptime", "r")
  } catch {
    return undefined
  }
}

/** A function that returns the uptime in milliseconds. Where there is no uptime, or it cannot be read any more, it returns 0. */
const make = (): (() => number) => {
  const file = open()
  if (file === undefined) return () => 0
  const bytes = Buffer.alloc(MAX_BYTES)
  return () => {
    try {
      return Number.parseFloat(bytes.toString("latin1", 0, readSync(file, bytes, 0, MAX_BYTES, 0))) * 1000 || 0
    } catch {
      return 0
    }
  }
}

let uptime: (() => number) | undefined

/** Milliseconds since the machine has started. */
export const uptimeMillis = (): number => {
  uptime ??= make()
  return uptime()
}
