/** Which codec a line is written in: JSON begins with `{`, text with a verb. */
import type { Codec } from "./Codec.ts"
import { jsonCodec } from "./json/JsonCodec.ts"
import { textCodec } from "./text/TextCodec.ts"

const OPEN_BRACE = 0x7b

/** The codec of the line that begins with this byte. */
export const codecOf = (firstByte: number): Codec => (firstByte === OPEN_BRACE ? jsonCodec : textCodec)
