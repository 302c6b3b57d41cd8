/** A write buffer returns what was appended, in order, in any mix of appends and takes. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Line } from "../../../src/protocol/LineBytes.ts"
import { WriteBuffer } from "../../../src/server/outbound/WriteBuffer.ts"

const Step = Schema.Struct({
  kind: Schema.Literals([
    "append",
    "line",
    "cancellable",
    "cancellable",
    "piece",
    "piece",
    "stream",
    "cancel",
    "hold",
    "take",
    "clear"
  ]),
  length: Schema.Literals([1, 2, 30, 127, 130, 3000, 70_000]),
  max: Schema.Literals([1, 100, 4000, 1_000_000])
})

/** The size of a received chunk, and so of the longest piece. */
const LONGEST = 100_000

const lineOf = (head: string, bytes: Uint8Array, start = 0, end = bytes.length) => {
  const line = new Line()
  line.head.write(head)
  line.bytes = bytes
  line.start = start
  line.end = end
  return line
}

/** Bytes outside of the pool of `Buffer`. */
const ofItsOwn = (text: string) => new TextEncoder().encode(text)

const text = (chunks: ReadonlyArray<Uint8Array>) => Buffer.concat(chunks).toString()

/** The model: everything that was appended and must be taken. */
class Appended {
  readonly #parts: Array<{ readonly text: string; wanted: boolean; asked: boolean }> = []
  /** Bytes that come from no stream. */
  #bytes = 0

  add(text: string, bytes = text.length) {
    this.#bytes += bytes
    this.#parts.push({ text, wanted: true, asked: true })
  }

  addCancellable(text: string) {
    this.#bytes += text.length
    const part = { text, wanted: true, asked: false }
    this.#parts.push(part)
    return {
      send: () => {
        assert.isFalse(part.asked, "a line is asked about once")
        part.asked = true
        if (!part.wanted) this.#bytes -= text.length
        return part.wanted
      }
    }
  }

  cancel(which: (index: number) => boolean) {
    for (const [index, part] of this.#parts.entries()) if (!part.asked && which(index)) part.wanted = false
  }

  /** All bytes that are still wanted. */
  get text() {
    return this.#parts.map(({ text, wanted }) => (wanted ? text : "")).join("")
  }

  get allAsked() {
    return this.#parts.every(({ asked }) => asked)
  }

  /** The number of waiting bytes that come from no stream, after so many were taken. */
  waiting(taken: number) {
    return this.#bytes - taken
  }
}

describe("WriteBuffer", () => {
  it.prop(
    "returns what was appended in order, without the lines that were cancelled before",
    [Schema.Array(Step).check(Schema.isMinLength(30), Schema.isMaxLength(60))],
    ([steps]) => {
      const buffer = new WriteBuffer()
      let appended = new Appended()
      let taken = ""
      /** The taken bytes that came from streams. */
      let streamed = 0
      let read = Buffer.alloc(0)
      let at = 0
      /** Whether all waiting shared bytes are copies. */
      let held = false

      const take = (max: number) => {
        const chunks = buffer.take(max)
        assert.isTrue(chunks.every(({ length }) => length > 0))
        if (chunks.length === 0) assert.isTrue(buffer.isEmpty)
        const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
        // A piece is not divided.
        assert.isBelow(length, max + LONGEST)
        taken += text(chunks)
        assert.isTrue(appended.text.startsWith(taken))
        held = false
      }
      const pieces = function* (made: ReadonlyArray<string>) {
        for (const piece of made) {
          streamed += piece.length
          yield Buffer.from(piece)
        }
      }

      for (const [count, { kind, length, max }] of steps.entries()) {
        const word = `${count}${"x".repeat(length)}`
        const bytes = Buffer.from(`__${word}__`)
        const [start, end] = [2, bytes.length - 2]
        switch (kind) {
          case "append":
            buffer.append(bytes, start, end)
            appended.add(word)
            break
          case "line":
            buffer.appendLine(lineOf("EXEC 0 ", bytes, start, end))
            appended.add(`EXEC 0 ${word}\n`)
            break
          case "cancellable":
            buffer.appendLine(lineOf("", bytes, start, end), appended.addCancellable(`${word}\n`))
            break
          case "piece":
            if (at + word.length + 1 > read.length || length === 1) {
              read = Buffer.alloc(LONGEST, "-")
              at = 0
            }
            // Not every received line is for this client.
            if (max === 1) at++
            read.write(word, at)
            buffer.appendShared(read, at, at + word.length)
            at += word.length
            appended.add(word)
            break
          case "stream": {
            const made = [word, "y".repeat(length), "z"].slice(0, count % 4)
            buffer.appendStream(pieces(made))
            appended.add(made.join(""), 0)
            assert.isTrue(buffer.isStreaming)
            break
          }
          case "cancel":
            appended.cancel((index) => (index + length) % 3 > 0)
            break
          case "hold":
            held ||= buffer.size === 0 && !buffer.isStreaming
            buffer.hold()
            if (held) {
              read.fill("!")
              at = read.length
            }
            break
          case "take":
            take(max)
            break
          case "clear":
            if (max > 1) break
            buffer.clear()
            assert.deepStrictEqual([buffer.size, buffer.isStreaming], [0, false])
            appended = new Appended()
            taken = ""
            streamed = 0
        }
        assert.strictEqual(buffer.size, appended.waiting(taken.length - streamed))
      }
      take(Number.POSITIVE_INFINITY)
      assert.strictEqual(taken, appended.text)
      assert.isTrue(appended.allAsked)
      assert.deepStrictEqual([buffer.size, buffer.isStreaming], [0, false])
      assert.deepStrictEqual(buffer.take(1), [])
    },
    { arbitrary: { runs: 500 } }
  )

  it("gathers short pieces in one chunk", () => {
    const buffer = new WriteBuffer()
    for (let i = 0; i < 20; i++) buffer.append(Buffer.from(`${i},`), 0, `${i},`.length)
    assert.strictEqual(buffer.take(1000).length, 1)
  })

  it("returns shared bytes without a copy, adjacent ones as one chunk", () => {
    const buffer = new WriteBuffer()
    const bytes = ofItsOwn("one\ntwo\nthree\n")
    buffer.appendShared(bytes, 0, 4)
    buffer.appendShared(bytes, 4, 8)
    const chunks = buffer.take(1000)
    assert.strictEqual(text(chunks), "one\ntwo\n")
    assert.deepStrictEqual(
      chunks.map(({ buffer }) => buffer === bytes.buffer),
      [true]
    )
  })

  it("copies shared bytes while it is held, until the next take", () => {
    const buffer = new WriteBuffer()
    const bytes = ofItsOwn("one\ntwo\nthree\nfour\n")
    buffer.appendShared(bytes, 0, 4)
    buffer.hold()
    buffer.appendShared(bytes, 4, 8)
    buffer.appendShared(bytes, 14, 19)
    buffer.hold()
    bytes.fill(0x21)
    assert.strictEqual(text(buffer.take(1000)), "one\ntwo\nfour\n")
    buffer.appendShared(bytes, 0, 4)
    assert.strictEqual(buffer.take(1000)[0]?.buffer, bytes.buffer)
  })

  it("makes the pieces of a stream only when they are taken", () => {
    const buffer = new WriteBuffer()
    let made = 0
    const pieces = function* () {
      while (made < 3) yield Buffer.from(`${++made}\n`)
    }
    buffer.append(Buffer.from("before\n"), 0, 7)
    buffer.appendStream(pieces())
    buffer.append(Buffer.from("after\n"), 0, 6)
    assert.strictEqual(made, 0)
    assert.strictEqual(text(buffer.take(8)), "before\n1\n")
    assert.deepStrictEqual([made, buffer.size, buffer.isStreaming], [1, 6, true])
    assert.strictEqual(text(buffer.take(1000)), "2\n3\nafter\n")
    assert.deepStrictEqual([buffer.size, buffer.isStreaming], [0, false])
  })

  it("asks whether a cancellable line is wanted when it is taken, not before", () => {
    const buffer = new WriteBuffer()
    const asked: Array<string> = []
    const append = (word: string, sends: boolean) =>
      buffer.appendLine(lineOf("EXEC#1 ", Buffer.from(word)), {
        send: () => {
          asked.push(word)
          return sends
        }
      })
    append("first", true)
    append("second", false)
    append("third", true)
    assert.deepStrictEqual(asked, [])
    assert.strictEqual(text(buffer.take(1000)), "EXEC#1 first\nEXEC#1 third\n")
    assert.deepStrictEqual(asked, ["first", "second", "third"])
  })
})
