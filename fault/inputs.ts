/**
 * The lines of the fuzzer: lines of the corpus, mutated and recombined, and lines
 * made from the words of both encodings. A line is bytes without an LF.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { ClientMessage, ServerMessage } from "../src/protocol/Messages.ts"
import type { Random } from "./random.ts"

const folder = new URL("corpus/", import.meta.url)

/** All lines of all files. */
const corpus: ReadonlyArray<Buffer> = readdirSync(folder).flatMap((name) =>
  readFileSync(new URL(name, folder), "latin1")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => Buffer.from(line, "latin1"))
)

/** Adds a failing input to the corpus, so that every later run tries it. Returns the file's path. */
export const keep = (seed: number, line: Uint8Array): string => {
  const path = new URL(`found-${seed}.lines`, folder)
  writeFileSync(path, Buffer.concat([line, Buffer.from("\n")]), { flag: "a" })
  return path.pathname
}

const tags = [...ClientMessage.members, ...ServerMessage.members].map(({ fields }) => fields._tag.schema.literal)

const numbers = [
  "0",
  "1",
  "2",
  "7",
  "01",
  "-1",
  "1e0",
  "256",
  "9007199254740993",
  "9".repeat(400),
  "1e999",
  "-0",
  "0x1"
]

/** The parts of lines, and the strings to insert into them. */
const words = [
  ...numbers,
  ...tags.map((tag) => tag.toUpperCase()),
  ...["*", "0-1", "2-1", "0-99999999999999999999", "@a", "@m1", "@", "@m99999999999999999", "-", ".", "a", "m1", "b c"],
  ...["#", "#1", "#a", `#${"i".repeat(65)}`, " ", "  ", "\t", "\r", "\0", "\x1b[2J", "\x7f", "\\n", "\\x1b", "\\"],
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "\u00e4", "\u{1f600}", "\ufeff", "\u2028", "\u202e"],
  ...["\u0080", "\u0085", "\u009b2J", "\u009f", "\u00a0", "\\x9b"],
  ...["denied", "failed", "lost", "default", "GET / HTTP/1.1", " HTTP/1.1", "Host: x", "{", "}", "[", '"', ":", ","]
].map((word) => Buffer.from(word))

/** Bytes that are not UTF-8: cut off, overlong, a surrogate. */
const broken = ["\xff", "\xc3", "\xc2", "\x9b", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80"].map((bytes) =>
  Buffer.from(bytes, "latin1")
)

const keys = [
  ...[
    "_tag",
    "id",
    "to",
    "command",
    "timeout",
    "epoch",
    "member",
    "text",
    "status",
    "output",
    "truncated",
    "name",
    "who"
  ],
  ...[
    "group",
    "token",
    "protocol",
    "resume",
    "heartbeat",
    "__proto__",
    "constructor",
    "x",
    "",
    "\\ud800",
    "\\u001b[2J"
  ],
  ...["\\u009b", "\u0085"]
]

const nested = (random: Random): string => {
  const [open, close] = random.pick([
    ["[", "]"],
    ['{"a":', "}"],
    ['{"__proto__":', "}"]
  ] as const)
  const depth = random.chance(0.01) ? 9000 : 1 + random.below(20)
  return open.repeat(depth) + random.pick(numbers) + close.repeat(depth)
}

const value = (random: Random): string => {
  switch (random.below(8)) {
    case 0:
      return random.pick(numbers)
    case 1:
      return random.pick(["true", "false", "null", "{}", "[]", '""'])
    case 2:
      return nested(random)
    case 3:
      return random.pick([
        ...['"\\ud800"', '"\\u0000"', '"a\\nb"', '"\\udc00\\ud800"', '"\\u007f"', '"\\ud83d\\ude00"'],
        ...['"\\u0080"', '"\\u009b2J"', '"\u0085"', '"x\u009f"', '"\\u00a0"']
      ])
    default:
      return JSON.stringify(random.pick(words).toString())
  }
}

const object = (random: Random): Buffer => {
  const fields = [`"_tag":${random.chance(0.95) ? `"${random.pick(tags)}"` : value(random)}`]
  for (let left = random.below(5); left > 0; left--) fields.push(`"${random.pick(keys)}":${value(random)}`)
  return Buffer.from(`{${fields.join(random.chance(0.05) ? " , " : ",")}}`)
}

const sentence = (random: Random): Buffer => {
  const parts: Array<Uint8Array> = [random.pick(words)]
  if (random.chance(0.3)) parts.push(Buffer.from(`#${random.below(20)}`))
  for (let left = random.below(4); left > 0; left--) {
    if (random.chance(0.95)) parts.push(Buffer.from(" "))
    parts.push(random.pick(words))
  }
  return Buffer.concat(parts)
}

const noise = (random: Random): Buffer =>
  Buffer.from(Array.from({ length: 1 + random.below(40) }, () => random.below(256)))

const methods = ["GET", "POST", "SEARCH", "M-SEARCH", "get", "brew", "PRI", "PROXY", "x", ...tags, "OUTPUT#1"]

/** A line of an HTTP request, or one that looks like it. */
export const ofRequest = (random: Random): Buffer => {
  if (random.chance(0.2)) return Buffer.from(random.pick(["Host: x", "host:x", "Hosts: x", "Accept: */*"]))
  const path = random.pick(["/", "*", "/?EXEC%20*", "/a b", "1 /", "localhost:5000", `/${random.pick(words)}`])
  const version = random.pick([
    "HTTP/1.1",
    "HTTP/1.0",
    "HTTP/2",
    "HTTP/3.0",
    "http/1.1",
    "HTTP/",
    "HTTPS/1.1",
    "SIP/2.0"
  ])
  const end = random.chance(0.1) ? random.pick(words) : ""
  const space = random.chance(0.9) ? " " : "\t"
  return Buffer.from(`${random.pick(methods)} ${path}${space}${version}${end}`)
}

/** What a TLS client sends first, or what looks like it; perhaps only the beginning of it. */
export const ofTls = (random: Random): Buffer => {
  const head = random.chance(0.7) ? [0x16, 3, random.below(6)] : [0x80, random.below(256), 1, random.pick([0, 2, 3])]
  return Buffer.concat([Buffer.from(head), noise(random)]).subarray(0, random.chance(0.7) ? undefined : random.below(5))
}

const mutated = (random: Random, line: Uint8Array): Buffer => {
  const at = random.below(line.length + 1)
  const [before, after] = [line.subarray(0, at), line.subarray(at)]
  switch (random.below(6)) {
    case 0:
      return Buffer.concat([before, after.subarray(1 + random.below(4))])
    case 1:
      return Buffer.concat([before, random.pick(words), after])
    case 2:
      return Buffer.concat([before, random.pick(broken), after])
    case 3:
      return Buffer.concat([before, after.subarray(0, 1 + random.below(20)), after])
    case 4: {
      const other = random.pick(corpus)
      return Buffer.concat([before, other.subarray(random.below(other.length))])
    }
    default: {
      const copy = Buffer.from(line)
      if (at < copy.length) copy[at] = copy[at]! ^ (1 << random.below(8))
      return copy
    }
  }
}

/** A line about as long as the limit, or a little longer. */
const long = (random: Random, limit: number): Buffer => {
  const head = random.pick([
    "PING ",
    "EXEC * ",
    "EXEC 1 ",
    "EXEC#l 1 ",
    '{"_tag":"Ping","text":"',
    '{"_tag":"Ping","',
    ""
  ])
  const fill = random.pick(["x", '\\"', "\u00e4", "9", "\0"])
  const length = limit - 3 + random.below(6) - head.length
  return Buffer.from((head + fill.repeat(Math.ceil(length / Buffer.byteLength(fill)))).slice(0, head.length + length))
}

const ofCorpus = (random: Random): Buffer => random.pick(corpus)

/** Each as often as it is listed. */
const makers: ReadonlyArray<(random: Random) => Buffer> = [
  ...Array.from({ length: 9 }, () => ofCorpus),
  ...[object, object, object, sentence, sentence, sentence, noise, ofRequest, ofTls]
]

/** A random line. Many are lines of the corpus, unchanged; a few are long. */
export const lineOf = (random: Random, limit: number): Buffer => {
  if (random.chance(0.0005)) return long(random, limit)
  let line = random.pick(makers)(random)
  for (let left = random.below(4); left > 0; left--) line = mutated(random, line)
  return line.includes(0x0a) ? Buffer.from(line.filter((byte) => byte !== 0x0a)) : line
}
