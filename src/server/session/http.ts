/** The first line of a browser, or of any other HTTP client. */
const HTTP = /^(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) |Host:)/i

/** The longest verb and its space. */
const HTTP_BYTES = 8

export const looksLikeHttp = (bytes: Uint8Array, start: number, end: number): boolean =>
  HTTP.test(Buffer.from(bytes.subarray(start, Math.min(end, start + HTTP_BYTES))).toString("latin1"))
