/**
 * Writes the bytes of a standard descriptor, and never blocks this process. Node writes to terminals synchronously,
 * and a pipe blocks again when a process that shares it turns `O_NONBLOCK` off. So a terminal or a pipe is opened again: the
 * flag then belongs to this process alone.
 *
 * Invariant: `write` returns at once. Two cases can still block: a terminal that cannot be opened again, and a socket that
 * another process made blocking. They are left to Node's streams.
 */
import { constants, fstatSync, openSync, readFileSync, writeSync } from "node:fs"
import { isatty } from "node:tty"

export interface Sink {
  /** Takes what fits now; returns how many bytes that is. Throws when the reader is gone or the device fails. */
  readonly write: (bytes: Buffer) => number
  /** Whether bytes that it took are still on their way. */
  readonly isBusy: () => boolean
}

const descriptorSink = (descriptor: number): Sink => ({
  write: (bytes) => {
    try {
      return writeSync(descriptor, bytes)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EAGAIN") return 0
      throw error
    }
  },
  isBusy: () => false
})

/** One piece at a time: what waits for the stream stays where it is bounded. */
const streamSink = (stream: NodeJS.WriteStream, failed: (error: NodeJS.ErrnoException) => void): Sink => {
  stream.on("error", failed)
  return {
    write: (bytes) => {
      if (stream.writableLength > 0) return 0
      stream.write(bytes)
      return bytes.length
    },
    isBusy: () => stream.writableLength > 0
  }
}

const { O_NOCTTY, O_NONBLOCK, O_WRONLY } = constants

/** Whether this device is the controlling terminal, which every process may open, whoever owns it. */
const isControllingTerminal = (device: number): boolean => {
  const status = readFileSync("/proc/self/stat", "utf8")
  // After the name of the program: state, parent, group, session, terminal.
  return Number(status.slice(status.lastIndexOf(")") + 2).split(" ")[4]) === device
}

/** A descriptor of its own for the same terminal or pipe; undefined where there is none. */
const reopened = (descriptor: number): number | undefined => {
  const open = (path: string) => openSync(path, O_WRONLY | O_NONBLOCK | O_NOCTTY)
  try {
    return open(`/proc/self/fd/${descriptor}`)
  } catch {
    // After `su` the terminal belongs to somebody else.
    try {
      return isatty(descriptor) && isControllingTerminal(fstatSync(descriptor).rdev) ? open("/dev/tty") : undefined
    } catch {
      return undefined
    }
  }
}

type StandardStream = NodeJS.WriteStream & { readonly fd: number }

/** `failed` is called for what fails after `write` has returned. */
export const sinkOf = (stream: StandardStream, failed: (error: NodeJS.ErrnoException) => void): Sink => {
  const stat = fstatSync(stream.fd)
  if (!isatty(stream.fd) && !stat.isFIFO()) {
    return stat.isSocket() ? streamSink(stream, failed) : descriptorSink(stream.fd)
  }
  const own = reopened(stream.fd)
  return own === undefined ? streamSink(stream, failed) : descriptorSink(own)
}
