/** Which encoding a line is in. */
import type { Codec } from "./Codec.ts"
import { jsonCodec } from "./json/JsonCodec.ts"
import { textCodec } from "./text/TextCodec.ts"

const OPEN_BRACE = 0x7b

/** The codec of a line that begins with this byte: a line that begins with `{` is JSON, any other is text. */
export const codecOf = (firstByte: number | undefined): Codec => (firstByte === OPEN_BRACE ? jsonCodec : textCodec)

/** The codec of what a client gets before it has said anything. */
export const firstCodec: Codec = textCodec

/** The codec of what a client gets after a line of its own: text until its first line of JSON, and JSON from then on. */
export const codecAfter = (before: Codec, line: Codec): Codec => (before === jsonCodec ? before : line)
