/**
 * What a command prints, up to a limit. The first half of the limit can be sent as it comes. Of the rest it keeps the
 * last part, where a failed command usually says why, and counts what is missing in between.
 *
 * Invariant: it holds no more bytes than the limit, whatever the command prints and however slowly it is sent.
 */

const isContinuation = (byte: number | undefined): boolean => byte !== undefined && (byte & 0xc0) === 0x80

/** UTF-8 has at most three bytes of a character after the first one. */
const MOST_CONTINUATIONS = 3

/** The start of the character that the byte at `index` is part of. */
const characterAt = (bytes: Uint8Array, index: number): number => {
  let start = index
  while (start > 0 && index - start < MOST_CONTINUATIONS && isContinuation(bytes[start])) start--
  return start
}

/** The start of the first whole character. */
const firstCharacter = (bytes: Uint8Array): number => {
  let start = 0
  while (start < MOST_CONTINUATIONS && isContinuation(bytes[start])) start++
  return start
}

export class PrintedOutput {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true })
  /** Text that was not taken yet. */
  #text = ""
  /** The last character that was taken. */
  #last = "\n"
  /** Bytes that may still be sent as they come. */
  #room: number
  readonly #tailSize: number
  /** The last bytes after those, as a ring: the next one comes at `#kept % #tailSize`. */
  #tail = new Uint8Array(0)
  /** All bytes that came to the ring. */
  #kept = 0

  constructor(limit: number) {
    this.#room = Math.floor(limit / 2)
    this.#tailSize = limit - this.#room
  }

  get truncated(): boolean {
    return this.#kept > this.#tailSize
  }

  add(bytes: Uint8Array): void {
    const cut = bytes.length <= this.#room ? bytes.length : characterAt(bytes, this.#room)
    this.#room = cut < bytes.length ? 0 : this.#room - cut
    this.#text += this.#decoder.decode(bytes.subarray(0, cut), { stream: true })
    this.#keep(bytes.subarray(cut))
  }

  /** Takes up to `length` characters of what can be sent already, and never half of a surrogate pair. */
  take(length: number): string {
    const text = this.#text.slice(0, length).replace(/[\ud800-\udbff]$/, "")
    this.#text = this.#text.slice(text.length)
    this.#last = text.at(-1) ?? this.#last
    return text
  }

  /** Takes all that is left, with a line about what is missing, and with a last line of the caller's. */
  end(line?: string): string {
    if (this.#tailSize === 0) return line === undefined ? "" : `${line}\n`
    if (!this.truncated) {
      this.#text += this.#decoder.decode(this.#tail.subarray(0, this.#kept))
    } else {
      const next = this.#kept % this.#tailSize
      const tail = Buffer.concat([this.#tail.subarray(next), this.#tail.subarray(0, next)])
      const start = firstCharacter(tail)
      this.#text += this.#decoder.decode()
      const missing = this.#kept - tail.length + start
      this.#addLine(`... ${missing} ${missing === 1 ? "byte is" : "bytes are"} missing ...`)
      this.#text += new TextDecoder("utf-8", { ignoreBOM: true }).decode(tail.subarray(start))
    }
    if (line !== undefined) this.#addLine(line)
    return this.take(Number.POSITIVE_INFINITY)
  }

  #addLine(line: string): void {
    const last = this.#text.at(-1) ?? this.#last
    this.#text += `${last === "\n" ? "" : "\n"}${line}\n`
  }

  #keep(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    if (this.#tail.length === 0) this.#tail = new Uint8Array(this.#tailSize)
    // What the same piece would overwrite is counted, and not copied.
    const skipped = Math.max(0, bytes.length - this.#tailSize)
    this.#kept += skipped
    let rest = bytes.subarray(skipped)
    while (rest.length > 0) {
      const at = this.#kept % this.#tailSize
      const part = rest.subarray(0, this.#tailSize - at)
      this.#tail.set(part, at)
      this.#kept += part.length
      rest = rest.subarray(part.length)
    }
  }
}
