/**
 * How a connection begins: lines that are not valid, and perhaps one of another protocol, for which the server must cut the
 * client off. By docs/protocol.md, and not by the code of the server.
 */
import { isUtf8 } from "node:buffer"
import { jsonCodec } from "../src/protocol/json/JsonCodec.ts"
import type { ServerMessage } from "../src/protocol/Messages.ts"
import { textCodec } from "../src/protocol/text/TextCodec.ts"
import { UNASKED } from "./answers.ts"
import { read } from "./decoder.ts"
import { keep, lineOf, ofRequest, ofTls } from "./inputs.ts"
import type { Random } from "./random.ts"
import { check, until } from "./run.ts"
import { Wire } from "./wire.ts"

/** Longer lines end a connection by themselves: the limit of a client that has shown no token. */
const LIMIT = 4096

/** A name that no random line has. */
export const STOLEN = "stolen.by.a.browser"

/** What would follow the first lines of a browser. */
const BODY = Buffer.from(`\nHost: x\r\n\r\nNAME ${STOLEN}\nEXEC * ${STOLEN}\n`)

/** A command that always gets an `ERROR` with its id: nobody commands rank 0. */
const LAST = "opened"

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the bytes of TLS
const TLS = /^(?:\x16\x03[\0-\x04]|\x80.\x01[\0\x03])/s
const REQUEST = /^[\w.#-]+ \/.*\sHTTP\/[0-9]\S*\s*$/i

/** Whether the server must cut off a client that sends this line, without its LF and CR, before a first valid one. */
export const isForeign = (line: Buffer): boolean => {
  if (TLS.test(line.subarray(0, 4).toString("latin1")) || !isUtf8(line)) return true
  const text = line.toString()
  return read(line)._tag === "Failure" && (/^host:/i.test(text) || /\sHTTP\/[0-9]\S*\s*$/i.test(text))
}

/** Whether the server must go on as if this line had not come: it is not valid, or a browser may send it. */
const isSkipped = (line: Buffer): boolean =>
  !isForeign(line) && (read(line)._tag === "Failure" || REQUEST.test(line.toString()))

const some = (random: Random, make: (random: Random) => Buffer, accept: (line: Buffer) => boolean): Buffer => {
  for (;;) {
    const line = make(random)
    const isWhole = line.length > 0 && line.length < LIMIT && line.at(-1) !== 0x0d && !line.includes(0x0a)
    if (isWhole && accept(line)) return line
  }
}

const makers = [ofRequest, ofTls, (random: Random) => lineOf(random, LIMIT)] as const

/** Writes the bytes in up to five pieces. Some are cut within the first bytes at `start`. */
const written = async ({ socket }: Wire, bytes: Buffer, start: number, random: Random): Promise<void> => {
  const cuts = Array.from({ length: random.below(5) }, () =>
    random.chance(0.5) ? Math.min(start + random.below(5), bytes.length) : random.below(bytes.length)
  ).sort((a, b) => a - b)
  for (const [i, from] of [0, ...cuts].entries()) {
    socket.write(bytes.subarray(from, cuts[i]))
    // The server gets this piece alone.
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

/** Begins a connection and checks what the server does; returns the number of lines. */
export const open = async (port: number, random: Random, seed: number): Promise<number> => {
  const wire = new Wire(port)
  const heard: Array<ServerMessage> = []
  wire.hear = (line) => {
    const said = (line.startsWith("{") ? jsonCodec : textCodec).decodeServer(line)
    if (said._tag === "Failure") heard.push({ _tag: "Help", text: "a line that cannot be read" })
    else if (!UNASKED.has(said.success._tag)) heard.push(said.success)
  }
  const maker = () => random.pick(makers)
  const skipped = Array.from({ length: random.below(5) }, () => some(random, maker(), isSkipped))
  const foreign = random.chance(0.7) ? some(random, maker(), isForeign) : undefined
  const before = skipped.flatMap((line) => [line, Buffer.from(random.pick(["\n", "\r\n", "\n\n"]))])
  // TLS needs no LF.
  const isTls = foreign !== undefined && TLS.test(foreign.subarray(0, 4).toString("latin1"))
  const body = isTls && random.chance(0.5) ? Buffer.of() : BODY
  const rest = foreign === undefined ? [Buffer.from(`EXEC#${LAST} 0 x\n`)] : [foreign, body]
  const isLast = (message: ServerMessage | undefined) => message?._tag === "Error" && message.id === LAST
  const lines = [...skipped, ...(foreign === undefined ? [] : [foreign])]
  const shown = JSON.stringify(lines.map((line) => line.toString("latin1")))
  const describe = (why: string) => () => {
    const path = lines.map((line) => keep(seed, line)).at(-1)
    return `${why}: ${shown}, now in ${path}, was answered ${JSON.stringify(heard)}`
  }
  const start = before.reduce((sum, { length }) => sum + length, 0)
  await written(wire, Buffer.concat([...before, ...rest]), start, random)
  await until(
    "the beginning of a connection is answered, or cut off",
    () => wire.closed || isLast(heard.at(-1)) || shown
  )
  const answered = heard.filter((message) => !isLast(message))
  const silent = skipped.filter((line) => read(line)._tag === "Success").length
  check(
    answered.every(({ _tag: tag }) => tag === "Error" || tag === "Pong"),
    describe("an invalid line was executed")
  )
  check(answered.length <= skipped.length, describe("another protocol was answered"))
  if (foreign === undefined) {
    check(!wire.closed, describe("closed"))
    check(answered.length >= skipped.length - silent, describe("an answer is missing"))
  } else {
    check(wire.closed, describe("not cut off"))
  }
  wire.socket.destroy()
  return skipped.length + 1
}
