/** The decoders under fire: no input makes them throw, and they agree with each other. */
// As in the server.
import "effect/schema/SchemaJITCompiler/enable"
import { deepEqual, deepStrictEqual } from "node:assert"
import { isUtf8 } from "node:buffer"
import { Result } from "effect"
import { jsonCodec } from "../src/protocol/json/JsonCodec.ts"
import { Lines, Next } from "../src/protocol/Lines.ts"
import type { ClientMessage, ServerMessage } from "../src/protocol/Messages.ts"
import { ExecScanner } from "../src/protocol/text/ExecScanner.ts"
import { ResultScanner } from "../src/protocol/text/ResultScanner.ts"
import { textCodec } from "../src/protocol/text/TextCodec.ts"
import { keep, lineOf } from "./inputs.ts"
import type { Random } from "./random.ts"
import { check, Violation } from "./run.ts"

const LIMIT = 65_536
const OPEN_BRACE = 0x7b

/** Lines that pass through `Lines` together, cut anywhere. */
const BATCH = 64

export type Said = ReturnType<typeof textCodec.decodeClient>

/** A control character other than TAB. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it looks for control characters
export const CONTROL = /[\0-\x08\n-\x1f\x7f-\x9f]/

/** Whether a line is UTF-8 without control characters. */
export const isPlain = (line: Buffer): boolean => isUtf8(line) && !CONTROL.test(line.toString())

/** The message that the server must read from a line without its CR, or the rejection. */
export const read = (line: Buffer): Said => {
  const json = line[0] === OPEN_BRACE
  if (!(json ? isUtf8(line) : isPlain(line))) return Result.fail({ reason: "malformed" })
  const text = line.toString()
  return json ? jsonCodec.decodeClient(text) : textCodec.decodeClient(text)
}

const exec = new ExecScanner()
const outcome = new ResultScanner()

/** The message that the scanners read from a line, if they read it at all. */
const scanned = (line: Buffer): ClientMessage | undefined => {
  // The line is in the middle of the bytes: a scanner must stay within its slice.
  const bytes = Buffer.concat([Buffer.from("9"), line, Buffer.from("9 9")])
  const end = line.length + 1
  if (exec.scan(bytes, 1, end)) {
    const { command, everyone, first, idEnd, idStart, last, range } = exec
    return {
      _tag: "Exec",
      ...(idEnd > idStart ? { id: bytes.toString("utf8", idStart, idEnd) } : {}),
      to: everyone ? { _tag: "Everyone" } : range ? { _tag: "Range", first, last } : { _tag: "Rank", rank: first },
      command: bytes.toString("utf8", command, end)
    }
  }
  if (outcome.scan(bytes, 1, end)) {
    const { id, output, status } = outcome
    return {
      _tag: "Result",
      id: `${id}`,
      status,
      ...(output < end ? { output: bytes.toString("utf8", output, end) } : {})
    }
  }
  return undefined
}

/** What other clients get of a message; undefined where they get nothing of it. */
const passedOn = (message: ClientMessage): ServerMessage | undefined => {
  switch (message._tag) {
    case "Exec":
      return { _tag: "Exec", from: 0, command: message.command }
    case "Output":
      return { _tag: "Output", id: message.id, rank: 0, text: message.text }
    case "Result": {
      const { id, output, status } = message
      return { _tag: "Result", id, rank: 0, status, ...(output && { output }) }
    }
    default:
      return undefined
  }
}

/** Details that passed the check. */
const told = new Set<string | undefined>()

const agree = (line: Buffer): void => {
  const said = read(line)
  const fast = isPlain(line) ? scanned(line) : undefined
  if (said._tag === "Failure") {
    check(fast === undefined, () => "a scanner accepts what the decoder rejects")
    const { detail, id, reason } = said.failure
    check(reason === "unknown command" || reason === "malformed", () => `${reason} is no reason for a line`)
    // The error about it must itself be a readable line.
    if (told.size > 100_000) told.clear()
    if (told.has(detail)) return
    told.add(detail)
    const error = { _tag: "Error", rank: 0, reason, ...(detail && { detail }), ...(id && { id }) } as const
    const written = [
      textCodec.decodeServer(textCodec.encodeServer(error)),
      jsonCodec.decodeServer(jsonCodec.encodeServer(error))
    ]
    for (const back of written) check(back._tag === "Success", () => `cannot be told: ${JSON.stringify(error)}`)
    return
  }
  if (fast !== undefined) deepStrictEqual(fast, said.success)
  const passed = passedOn(said.success)
  for (const codec of [textCodec, jsonCodec]) {
    if (passed === undefined) break
    const line = codec.encodeServer(passed)
    check(!CONTROL.test(line), () => `is passed on with a control character: ${JSON.stringify(line)}`)
    const back = codec.decodeServer(line)
    check(back._tag === "Success", () => `cannot be passed on: ${JSON.stringify(line)}`)
    // Loosely: a line has no -0.
    if (back._tag === "Success") deepEqual(back.success, passed)
  }
  // An accepted message stays the same when it is written again.
  const again = jsonCodec.decodeClient(jsonCodec.encodeClient(said.success))
  check(again._tag === "Success", () => "is not accepted any more when it is written again")
  // Compared as JSON, which has no -0.
  if (again._tag === "Success") deepStrictEqual(JSON.stringify(again.success), JSON.stringify(said.success))
}

/** The lines of `bytes`, by the book: without empty ones, and up to the first that is too long. */
const byTheBook = (bytes: Buffer): Array<Buffer | "too long"> => {
  const lines: Array<Buffer | "too long"> = []
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0x0a, at)
    if (end + 1 - at > LIMIT) return [...lines, "too long"]
    const line = bytes.subarray(at, end > at && bytes[end - 1] === 0x0d ? end - 1 : end)
    if (line.length > 0) lines.push(line)
    at = end + 1
  }
  return lines
}

const framed = (random: Random, bytes: Buffer): Array<Buffer | "too long"> => {
  const lines = new Lines(LIMIT)
  const found: Array<Buffer | "too long"> = []
  for (let at = 0; at < bytes.length; ) {
    const length = 1 + random.below(random.chance(0.5) ? 20 : 5000)
    lines.push(bytes.subarray(at, at + length))
    at += length
    for (let next = lines.next(); next !== Next.More; next = lines.next()) {
      if (next === Next.TooLong) return [...found, "too long"]
      const line = Buffer.from(lines.bytes.subarray(lines.start, lines.end))
      const isRight = !isUtf8(line) || lines.control === CONTROL.test(line.toString())
      check(isRight, () => `control characters are not found: ${JSON.stringify(line.toString())}`)
      found.push(line)
    }
  }
  return found
}

/** Continues until the deadline, and returns the number of lines. */
export const fuzz = (random: Random, seed: number, deadline: number): number => {
  let count = 0
  while (performance.now() < deadline) {
    const batch = Array.from({ length: BATCH }, () => lineOf(random, LIMIT))
    for (const line of batch) {
      try {
        agree(line)
      } catch (error) {
        throw new Violation(`${JSON.stringify(line.toString("latin1"))}, now in ${keep(seed, line)}: ${error}`)
      }
    }
    const bytes = Buffer.concat(batch.flatMap((line) => [line, Buffer.from("\n")]))
    const [found, expected] = [framed(random, bytes), byTheBook(bytes)]
    check(
      found.length === expected.length &&
        found.every(
          (line, i) => line === expected[i] || Buffer.compare(Buffer.from(line), Buffer.from(expected[i]!)) === 0
        ),
      () => `lines are found where they are not: ${JSON.stringify(bytes.toString("latin1"))}`
    )
    count += BATCH
  }
  return count
}
