/** What a browser, or anything else that speaks HTTP, begins with. */
const HTTP = /^(?:(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT|PRI) |Host:)/i

/** So many bytes tell. */
const HTTP_BYTES = 8

export const looksLikeHttp = (bytes: Uint8Array, start: number, end: number): boolean =>
  HTTP.test(Buffer.from(bytes.subarray(start, Math.min(end, start + HTTP_BYTES))).toString("latin1"))
