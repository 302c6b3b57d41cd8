/** Cuts output into pieces that each fit on a line, however the encoding escapes them. */

/** Bytes of an `Output` or `Result` besides its text, at most. */
const FRAME_BYTES = 256

/** A UTF-16 code unit has three bytes in UTF-8, but six where JSON escapes it. */
const ESCAPED_BYTES = 6

/**
 * Yields the pieces of a text but for the last one, which it returns. A line has `maxLine` bytes at most.
 * The halves of a surrogate pair stay together.
 */
export function* pieces(text: string, maxLine: number): Generator<string, string> {
  const length = Math.floor((maxLine - FRAME_BYTES) / ESCAPED_BYTES)
  let from = 0
  while (text.length - from > length) {
    const endsInPair = /[\ud800-\udbff]/.test(text.charAt(from + length - 1))
    const end = from + length - (endsInPair ? 1 : 0)
    yield text.slice(from, end)
    from = end
  }
  return text.slice(from)
}
