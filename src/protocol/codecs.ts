/** Which encoding a line is in. */
import type { Codec } from "./Codec.ts"
import { jsonCodec } from "./json/JsonCodec.ts"
import { textCodec } from "./text/TextCodec.ts"

const OPEN_BRACE = 0x7b

/** The codec of a line that begins with this byte: a line that begins with `{` is JSON, any other is text. */
export const codecOf = (firstByte: number | undefined): Codec => (firstByte === OPEN_BRACE ? jsonCodec : textCodec)
