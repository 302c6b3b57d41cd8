/** The file with the lines of a prompt. */
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, assert, beforeEach, describe, it } from "@effect/vitest"
import { HISTORY_LINES, History } from "../../src/cli/connect/prompt/History.ts"

describe("the history of a prompt", () => {
  let folder: string
  let file: string

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "rankd-history-"))
    file = join(folder, "history")
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const modeOf = (path: string) => statSync(path).mode & 0o777

  it("has the lines of all prompts that share it, the newest first", () => {
    const [one, two] = [new History(file), new History(file)]
    one.keep("first")
    two.keep("second")
    one.keep("third")
    assert.strictEqual(readFileSync(file, "utf8"), "first\nsecond\nthird\n")
    assert.deepStrictEqual(new History(file).past(), ["third", "second", "first"])
  })

  it("is for its owner alone, whatever it was before", () => {
    new History(file).keep("a")
    assert.strictEqual(modeOf(file), 0o600)
    chmodSync(file, 0o644)
    new History(file).keep("b")
    assert.strictEqual(modeOf(file), 0o600)
    chmodSync(file, 0o644)
    new History(file).past()
    assert.strictEqual(modeOf(file), 0o600)
  })

  it("keeps no line that begins with a space, none with a token, and none twice in a row", () => {
    const history = new History(file)
    for (const line of [" PING secret", "AUTH x", '{"_tag":"Auth","token":"x"}', "PING a", "PING a", "\tPING b"]) {
      history.keep(line)
    }
    assert.strictEqual(readFileSync(file, "utf8"), "PING a\n")
  })

  it("returns no control characters, whatever is in the file", () => {
    writeFileSync(file, "PING \u001b[2J\u009b2J\tx\nEXEC 1 \u007fuptime\n")
    assert.deepStrictEqual(new History(file).past(), ["EXEC 1 uptime", "PING [2J2J\tx"])
  })

  it("begins a line of its own where the last one has no end", () => {
    writeFileSync(file, "cut off")
    new History(file).keep("next")
    assert.strictEqual(readFileSync(file, "utf8"), "cut off\nnext\n")
  })

  it("does not grow for ever", () => {
    const line = (index: number) => `PING ${index}`
    writeFileSync(file, Array.from({ length: 2 * HISTORY_LINES + 1 }, (_, index) => `${line(index)}\n`).join(""))
    const past = new History(file).past()
    assert.deepStrictEqual([past.length, past[0]], [HISTORY_LINES, line(2 * HISTORY_LINES)])
    assert.strictEqual(readFileSync(file, "utf8").split("\n").length, HISTORY_LINES + 1)
    assert.strictEqual(modeOf(file), 0o600)
    new History(file).keep("more")
    assert.strictEqual(new History(file).past()[0], "more")
  })

  it("follows a link, and leaves what is no file as it is", () => {
    const link = join(folder, "link")
    symlinkSync(file, link)
    new History(link).keep("a")
    assert.strictEqual(readFileSync(file, "utf8"), "a\n")
    const before = modeOf("/dev/null")
    new History("/dev/null").keep("a")
    assert.deepStrictEqual(new History("/dev/null").past(), [])
    assert.strictEqual(modeOf("/dev/null"), before)
  })

  it("is no obstacle where it cannot be kept", () => {
    for (const path of ["", join(folder, "no", "folder"), folder]) {
      new History(path).keep("a")
      assert.deepStrictEqual(new History(path).past(), [])
    }
    assert.isFalse(existsSync(file))
    appendFileSync(file, "")
    assert.deepStrictEqual(new History(file).past(), [])
  })
})
