/** `npm run fuzz`: hostile lines, through the decoders and through live servers. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Decoder from "./decoder.ts"
import * as Live from "./live.ts"
import { Random } from "./random.ts"
import { check, main, optionsOf, sleep } from "./run.ts"
import { serve } from "./server.ts"
import * as Strangers from "./strangers.ts"

/** The server may grow by so much between a third of the run and its end: the heap goes up and down. */
const MAX_GROWTH = 96 * 1024 * 1024

const options = optionsOf("fuzz", 20)
const { milliseconds, seed } = options
const random = new Random(seed)
const megabytes = (bytes: number) => `${(bytes / 1024 / 1024).toFixed(0)} MiB`

/** A file with one token that no client has. It is removed when this process ends. */
const tokenFile = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "rankd-fuzz-"))
  process.on("exit", () => rmSync(folder, { recursive: true }))
  const path = join(folder, "tokens")
  writeFileSync(path, `*:sha256:${"0".repeat(64)}\n`)
  return path
}

await main(options, async () => {
  const lines = Decoder.fuzz(random.fork(), seed, performance.now() + milliseconds * 0.4)
  console.log(`decoders: ${lines} lines, none made them throw, disagree or answer what is not documented`)
  for (const admission of ["connect", "hello"] as const) {
    const server = await serve(["--admission", admission])
    const part = milliseconds * (admission === "connect" ? 0.3 : 0.15)
    const start = performance.now()
    const measured = (async () => {
      await sleep(part / 3)
      return [server.memory, server.descriptors] as const
    })()
    const { connections, count } = await Live.fuzz(server, admission === "connect", random.fork(), seed, start + part)
    await Live.checkServes(server)
    const [before] = await measured
    const after = server.memory
    console.log(
      `--admission ${admission}: ${count} lines over ${connections} connections, all answered as docs/protocol.md says; ` +
        `memory ${megabytes(before)}, at the end ${megabytes(after)}; descriptors ${server.descriptors}`
    )
    check(after - before < MAX_GROWTH, () => `grew by more than ${megabytes(MAX_GROWTH)}`)
    await server.end()
  }
  const tokens = tokenFile()
  // Long enough that no client times out.
  const server = await serve(["--token-file", tokens, "--auth-timeout", "600"])
  const count = await Strangers.fuzz(server, random.fork(), seed, performance.now() + milliseconds * 0.15)
  console.log(
    `--token-file: ${count} lines of strangers, all told that they do not count; descriptors ${server.descriptors}`
  )
  await server.end()
})
