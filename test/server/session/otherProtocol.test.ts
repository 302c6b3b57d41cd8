/** Clients of other protocols: what a browser, a TLS client or a proxy sends before a first valid line. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { AccessPolicy } from "../../../src/server/admission/Access.ts"
import { beginsTls } from "../../../src/server/session/otherProtocol.ts"
import type { MemorySocket } from "../../support/MemorySocket.ts"
import { connect, Network, say, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

const bytes = (text: string) => Buffer.from(text, "latin1")

const HELLO = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
const HELLO_SSL2 = "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"

const UNKNOWN = "ERROR 0 unknown command: try HELP"

const access: AccessPolicy = {
  authenticate: (token) => Effect.succeed(token === "all" ? { issue: true, execute: true } : undefined),
  observe: () => Effect.void
}

/** Sends the bytes, in one piece or one by one. Returns the lines that the client receives then. */
const sends = (client: MemorySocket, text: string, split: boolean) =>
  Effect.gen(function* () {
    for (const piece of split ? Array.from(bytes(text), (byte) => Uint8Array.of(byte)) : [bytes(text)]) {
      client.send(piece)
      yield* settled
    }
    return client.lines()
  })

/** First lines that end a connection without an answer. Those of TLS have no end. */
const foreign: ReadonlyArray<string> = [
  "GET / HTTP/1.1\n",
  "POST /x HTTP/1.1\r\n",
  "OPTIONS * HTTP/1.1\n",
  "PRI * HTTP/2.0\r\n",
  "SEARCH / HTTP/1.1\n",
  "get / http/1.0\n",
  "M-SEARCH * HTTP/1.1\n",
  "GET / HTTP/3\n",
  "GET / HTTP/1.1 \n",
  "GET /\tHTTP/1.1\n",
  // Methods that are verbs, and a path that looks like a command.
  "EXEC / HTTP/1.1\n",
  "NAME / HTTP/1.1\n",
  "HELP / HTTP/1.1\n",
  "RESULT#1 / HTTP/1.1\n",
  "GET /%0AEXEC%201%20rm HTTP/1.1\n",
  "{ HTTP/1.1\n",
  "GET /\x01 HTTP/1.1\n",
  "POST /\x7f HTTP/1.1\n",
  "GET /\xc2\x9b HTTP/1.1\n",
  "\xef\xbb\xbfGET / HTTP/1.1\n",
  "Host: localhost:5000\n",
  "HOST:x\n",
  "\xff\n",
  "PING \xc3\n",
  "EXEC 1 \xed\xa0\x80\n",
  '{"_tag":"Ping","text":"\xff"}\n',
  // The first bytes of STUN: a web page chooses what follows.
  "\0\x03\0\x50\x21\x12\xa4\x42\n",
  HELLO.slice(0, 3),
  HELLO,
  `${HELLO}\n`,
  "\x16\x03\x04",
  HELLO_SSL2.slice(0, 4),
  HELLO_SSL2
]

/** Lines that are only rejected. */
const mistyped: ReadonlyArray<string> = [
  "GET /",
  "HTTP/1.1",
  "curl/8.5 HTTP/",
  "x HTTP/x",
  "GET / SIP/2.0",
  "Hosts: x",
  "my Host: x",
  "Content-Length: 5",
  "HELO mail.example.com",
  "PROXY TCP4 10.0.0.1 10.0.0.2 5 6",
  "\x16",
  "\x16\x03",
  "\x16\x03x",
  "\x16\x02\x00",
  "\x15\x03\x01",
  "\0",
  "\u00e9t\u00e9",
  "{",
  '{"_tag":"Ping","text":7}'
]

describe("a client of another protocol", () => {
  it.effect.each(foreign.flatMap((text) => [false, true].map((split) => [text, split] as const)))(
    "is cut off without an answer: %j, byte by byte: %s",
    ([text, split]) =>
      Effect.gen(function* () {
        const [a, b] = yield* connect(2)
        assert.deepStrictEqual(yield* sends(a, `${text}`, split), [])
        assert.isTrue(a.destroyed)
        assert.deepStrictEqual(yield* say(a, "NAME pwned", "EXEC * x"), [])
        assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
      }).pipe(server())
  )

  it.effect.each(foreign)("is cut off after any number of lines that are not valid: %j", (text) =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      for (const line of mistyped) yield* say(a, "", line)
      assert.deepStrictEqual(yield* sends(a, text, false), [])
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(server())
  )

  it.effect.each(foreign)("is cut off before it has shown a token: %j", (text) =>
    Effect.gen(function* () {
      const a = yield* (yield* Network).connect
      assert.deepStrictEqual(yield* say(a, "reboot", "\0"), [
        "ERROR - not authorized: say AUTH <token> first",
        "ERROR - malformed: a line is UTF-8 without control characters"
      ])
      assert.deepStrictEqual(yield* sends(a, `${text}`, true), [])
      assert.isTrue(a.destroyed)
    }).pipe(server({}, [], access))
  )

  it.effect("executes nothing of a request that comes in one piece, whatever is before it", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      a.send("PROXY TCP4 10.0.0.1 10.0.0.2 5 6\r\nSEARCH / HTTP/1.1\r\nHost: x\r\n\r\nNAME pwned\r\nEXEC * x\r\n")
      yield* settled
      assert.isTrue(a.destroyed)
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(server())
  )

  it.effect("is cut off if its TLS is longer than a line, also where the header is split", () =>
    Effect.gen(function* () {
      for (const at of [0, 1, 2, 3]) {
        const [a] = yield* connect(1)
        a.send(bytes(HELLO.slice(0, at)))
        yield* settled
        a.send(bytes(HELLO.slice(at) + "x".repeat(2000)))
        yield* settled
        assert.deepStrictEqual([a.lines(), a.destroyed], [[], true])
      }
    }).pipe(server({ maxLine: 512 }))
  )

  it.effect(
    "is cut off in its second line if the first is a request that is valid: a web page chooses the method",
    () =>
      Effect.gen(function* () {
        for (const method of ["PING", "PONG", "OUTPUT#1"]) {
          const [a] = yield* connect(1)
          assert.deepStrictEqual(yield* say(a, `${method} /x HTTP/1.1`), method === "PING" ? ["PONG /x HTTP/1.1"] : [])
          assert.deepStrictEqual(yield* say(a, "Host: localhost", "", "NAME pwned"), [])
          assert.isTrue(a.destroyed)
        }
      }).pipe(server())
  )

  it.effect("gets BYE for the header of the PROXY protocol, version 2, which contains QUIT", () =>
    Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      assert.deepStrictEqual(yield* say(a, "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c0123456789ab\nNAME pwned"), [
        "ERROR 0 malformed: a line is UTF-8 without control characters",
        "BYE quit"
      ])
      assert.deepStrictEqual(b.lines(), ["RANK 0 1 3 m2"])
    }).pipe(server())
  )
})

describe("a person", () => {
  it.effect.each(mistyped)("gets an ERROR for a typing error, and stays connected: %j", (line) =>
    Effect.gen(function* () {
      const [a] = yield* connect(1)
      const [answer, pong, ...more] = yield* say(a, line, "PING")
      assert.match(answer ?? "", /^ERROR 0 (?:unknown command|malformed)|^\{"_tag":"Error"/)
      assert.match(pong ?? "", /^PONG$|^\{"_tag":"Pong"\}$/)
      assert.deepStrictEqual(more, [])
    }).pipe(server())
  )

  it.effect("may send an HTTP version in a valid line, and after one any line", () =>
    transcript(`
      a b> connect
      a> EXEC 1 curl HTTP/1.1
      b  EXEC 0 curl HTTP/1.1
      a> GET / HTTP/1.1
      a  ${UNKNOWN}
      a> Host: x
      a  ${UNKNOWN}
    `).pipe(server())
  )

  it.effect("may send any bytes after a valid line", () =>
    Effect.gen(function* () {
      const malformed = "ERROR 0 malformed: a line is UTF-8 without control characters"
      const malformedJson =
        '{"_tag":"Error","reason":"malformed","rank":0,"detail":"a line is UTF-8 without control characters"}'
      for (const first of ["PING", "EXEC 9 x", "EXEC#1 9 x", "RESULT#1 0", "WHOIS @nobody", '{"_tag":"Ping"}']) {
        const [a] = yield* connect(1)
        yield* say(a, first)
        const isJson = first.startsWith("{")
        for (const line of [HELLO, HELLO_SSL2, "\xff"]) {
          assert.deepStrictEqual(yield* sends(a, `${line}\n`, true), [isJson ? malformedJson : malformed])
        }
        assert.isFalse(a.destroyed)
        a.close()
        yield* settled
      }
    }).pipe(server())
  )

  it.effect("has sent a valid line even if the server rejects it, because it has shown no token", () =>
    transcript(`
      a> connect
      a> EXEC 1 x
      a  ERROR - not authorized: say AUTH <token> first
      a> GET / HTTP/1.1
      a  ERROR - not authorized: say AUTH <token> first
      a> AUTH all
      a  RANK 0 1 1 m1
    `).pipe(server({}, [], access))
  )
})

describe("the first bytes of TLS", () => {
  it.each([0, 1, 2, 3, 4])("are known by the third byte, for version 3.%i", (minor) => {
    const header = Uint8Array.of(0x16, 3, minor, 2, 0)
    for (let length = 0; length <= header.length; length++) {
      assert.strictEqual(beginsTls(header.subarray(0, length)), length >= 3)
    }
  })

  it("are not those of another record or version", () => {
    for (const header of [
      [0x16, 3, 5],
      [0x16, 2, 0],
      [0x17, 3, 3],
      [0x80, 0x2e, 2, 3, 1],
      [0x80, 0x2e, 1, 4, 0]
    ]) {
      assert.isFalse(beginsTls(Uint8Array.from(header)))
    }
  })
})
