/**
 * Recognizes clients of other protocols by what they send before a first valid line: a web page must not make a browser send
 * commands. A line is valid if it is a message, whether or not the server then rejects it.
 */
import { isUtf8 } from "node:buffer"
import { Result } from "effect"
import type { Codec } from "../../protocol/Codec.ts"
import type { Lines } from "../../protocol/Lines.ts"
import type { OtherProtocolCause } from "../events/CloseCause.ts"

/** With so many bytes of a line, `beginsTls` is certain. */
export const TLS_BYTES = 4

/** Whether a line begins as TLS does: with a handshake record, or with the `ClientHello` of SSL 2. No valid line does. */
export const beginsTls = ([first, second, third, fourth]: Uint8Array): boolean => {
  if (first === 0x16) return second === 3 && third !== undefined && third <= 4
  return first === 0x80 && third === 1 && (fourth === 3 || fourth === 0)
}

/** The first line of a request, or the header that a request cannot do without. */
const HTTP = /^Host:|\sHTTP\/[0-9]\S*\s*$/i

/** A web page chooses the method of its request, so `PING / HTTP/1.1` is valid and may come from a browser. */
const REQUEST = /^[\w.#-]+ \/.*\sHTTP\/[0-9]\S*\s*$/i

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true })

/**
 * Judges the present line: why the server cuts the client off; or `valid`, and no further line needs to be judged;
 * or undefined.
 */
export const judge = (
  codec: Codec,
  { bytes, control, end, start, wide }: Lines
): OtherProtocolCause | "valid" | undefined => {
  const line = bytes.subarray(start, end)
  if (beginsTls(line)) return "tls"
  if (wide && !isUtf8(line)) return "not UTF-8"
  const text = utf8.decode(line)
  const isMessage = !(control && !codec.judgesControls) && Result.isSuccess(codec.decodeClient(text))
  if (isMessage) return REQUEST.test(text) ? undefined : "valid"
  return HTTP.test(text) ? "http" : undefined
}
