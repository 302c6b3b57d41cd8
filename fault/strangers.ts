/**
 * Strangers send the same lines to a server that asks for a token: it rejects every one
 * of them. A command with an id follows each line: its answer cannot come before the
 * answer to the line.
 */
import { read } from "./decoder.ts"
import { keep, lineOf } from "./inputs.ts"
import { isForeign, open } from "./openings.ts"
import type { Random } from "./random.ts"
import { check, until } from "./run.ts"
import type { Server } from "./server.ts"
import { Wire } from "./wire.ts"

/** The limit for a stranger's line, in bytes, with its LF. */
const LIMIT = 4096

const LINES = 40
const CR = 0x0d
const CONNECTIONS = 12

const ANSWER =
  /^ERROR(?:#\S+)? - (?:not authorized|malformed)\b|^\{"_tag":"Error",(?:"id":"[^"]*",)?"reason":"(?:not authorized|malformed)"/

/** Whether the line may end the connection: then no further answer is expected. */
const mayEnd = (line: Buffer, first: boolean): boolean => {
  const whole = line.at(-1) === CR ? line.subarray(0, -1) : line
  if (line.length + 1 > LIMIT || (first && isForeign(whole))) return true
  const said = read(whole)
  if (said._tag === "Failure") return false
  // The server checks the token, and these are all wrong.
  return said.success._tag === "Quit" || said.success._tag === "Auth" || "token" in said.success
}

/** One stranger: the server must answer it line by line. Returns the number of lines. */
const converse = async (wire: Wire, random: Random, seed: number): Promise<number> => {
  const heard: Array<string> = []
  wire.hear = (line) => heard.push(line)
  const lines: Array<Buffer> = []
  while (lines.length < LINES) {
    const line = lineOf(random, LIMIT)
    if (mayEnd(line, lines.length === 0)) break
    lines.push(line)
  }
  const mark = (index: number) => `mark-${index}`
  wire.socket.write(Buffer.concat(lines.flatMap((line, index) => [line, Buffer.from(`\nEXEC#${mark(index)} 0 x\n`)])))
  const answered = () => heard.at(-1)?.includes(mark(lines.length - 1)) ?? lines.length === 0
  await until("the answers to a stranger's lines", () => answered() || wire.closed)
  for (const [index, line] of lines.entries()) {
    const own = heard.splice(
      0,
      heard.findIndex((said) => said.includes(`"${mark(index)}"`) || said.includes(`#${mark(index)} `)) + 1
    )
    const empty = line.length === 0 || (line.length === 1 && line[0] === CR)
    const right = own.length === (empty ? 1 : 2) && own.every((said) => ANSWER.test(said))
    check(right, () => `${keep(seed, line)}: a stranger was answered ${JSON.stringify(own).slice(0, 500)}`)
  }
  // But this one may end the connection.
  wire.socket.end(Buffer.concat([lineOf(random, 2 * LIMIT), Buffer.from("\n")]))
  return lines.length
}

/** Continues until the deadline, and returns the number of lines. */
export const fuzz = async (server: Server, random: Random, seed: number, deadline: number): Promise<number> => {
  const watching = new Wire(server.port)
  let count = 0
  const worker = async (random: Random) => {
    while (performance.now() < deadline) {
      count += await (random.chance(0.5)
        ? open(server.port, random, seed)
        : converse(new Wire(server.port), random, seed))
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, () => worker(random.fork())))
  server.checkSound()
  check(!watching.ended, () => "the server let a silent stranger go before its time")
  watching.socket.destroy()
  return count
}
