/**
 * The token file: which tokens there are, and what their bearers may do. The server keeps
 * the SHA-256 digest of a token, and never the token. A fast digest is enough for a token
 * with as many random bits as `generate` gives it.
 *
 * A line is `sha256:<64 hex digits>`, or the token itself. Rights may follow after spaces: `name=x` (default: any name),
 * `groups=a,b` (default: any group), and `may=issue,execute`, `may=issue`, `may=execute` or `may=watch`, which is neither
 * (default: both). Empty lines, and lines that begin with `#`, are skipped. An older form is still read:
 * `<name>:sha256:<64 hex digits>`, where the name `*` allows any name.
 *
 * Invariant: two lines that have become one are no line, unless the second has the older form. So `generate` does not
 * write that form: there the first line could become the name, which every member sees.
 */
import { Effect, FileSystem, Schema } from "effect"
import { Digest, Mac, SecureRandom } from "effect/crypto"
import { Base64Url, Hex } from "effect/encoding"
import { GroupName, Name, Secret } from "../../protocol/Ids.ts"
import type { AccessPolicy, Grant } from "./Access.ts"

/** A token file cannot be used. `message` says where and why, and never shows what the file contains. */
export class TokenFileError extends Schema.TaggedError<TokenFileError>()("TokenFileError", {
  message: Schema.String
}) {}

/** The access policy of a token file. */
export interface Tokens extends AccessPolicy {
  /** Reads the file again. If it cannot be used, the present tokens stay. */
  readonly reload: Effect.Effect<void, TokenFileError>
}

/** The least length of a token that stands in the file itself: shorter ones can be guessed. */
const MIN_TOKEN_LENGTH = 16

/** Random bytes of a generated token. */
const TOKEN_BYTES = 32

interface Entry {
  readonly digest: Uint8Array
  readonly grant: Grant
}

const isName = Schema.is(Name)
const isGroup = Schema.is(GroupName)
const isSecret = Schema.is(Secret)

const sha256 = (token: string) =>
  Digest.Digest.use(({ digest }) => digest(Digest.sha256, new TextEncoder().encode(token)))

const ALLOWS = "issue, execute, both with a comma between them, or watch alone"

/** The rights in a line; or what is wrong with them. */
const options = (words: ReadonlyArray<string>): Grant | string => {
  let grant: Grant = { issue: true, execute: true }
  for (const word of words) {
    const [option, value = ""] = word.split("=", 2)
    const values = value.split(",")
    if (option === "name") {
      if (!isName(value)) return "a name is 1-64 of A-Z a-z 0-9 . _ -, not like a member id"
      if (grant.name !== undefined) return ONE_NAME
      grant = { ...grant, name: value }
    } else if (option === "groups") {
      if (!values.every(isGroup)) return "groups= takes names of groups, with commas between them"
      grant = { ...grant, groups: values }
    } else if (option === "may") {
      const known = values.every((value) => value === "issue" || value === "execute" || value === "watch")
      if (!known || (values.includes("watch") && values.length > 1)) return `may= takes ${ALLOWS}`
      grant = { ...grant, issue: values.includes("issue"), execute: values.includes("execute") }
    } else {
      return "after the token come name=..., groups=... and may=..., nothing else"
    }
  }
  return grant
}

const ONE_NAME = "a line has one name"

/** The name before a digest, as older lines have it; or what is wrong with it. */
const withOldName = (grant: Grant, name: string | undefined): Grant | string => {
  if (name === undefined || name === "*") return grant
  if (!isName(name)) return "a name is 1-64 of A-Z a-z 0-9 . _ -, not like a member id; * is any"
  return grant.name === undefined ? { ...grant, name } : ONE_NAME
}

/** A line's token and what it allows; or what is wrong with it. */
const readLine = Effect.fnUntraced(function* (line: string) {
  const [word = "", ...words] = line.split(/[ \t]+/)
  const rights = options(words)
  if (typeof rights === "string") return rights
  if (!word.includes(":")) {
    if (word.length < MIN_TOKEN_LENGTH)
      return `a token has ${MIN_TOKEN_LENGTH} characters or more: make one with rankd token`
    return isSecret(word) ? { digest: yield* sha256(word), grant: rights } : "a token has printable characters only"
  }
  const [, name, hex = ""] = /^(?:([^:]*):)?sha256:([0-9a-f]{64})$/.exec(word) ?? []
  if (hex === "") return "write sha256:<64 hex digits>, as rankd token prints it, or a token without a colon"
  const grant = withOldName(rights, name)
  const digest = Hex.decode(hex)
  if (typeof grant === "string") return grant
  return digest._tag === "Success" ? { digest: digest.success, grant } : "a digest has 64 hex digits"
})

const read = Effect.fnUntraced(function* (path: string) {
  const fileSystem = yield* FileSystem.FileSystem
  const text = yield* Effect.mapError(fileSystem.readFileString(path), ({ message, reason }) => {
    if (reason._tag === "NotFound") return new TokenFileError({ message: `no such file: ${path}` })
    const why = reason._tag === "PermissionDenied" ? "no permission" : message
    return new TokenFileError({ message: `cannot read the token file ${path}: ${why}` })
  })
  const entries = new Map<string, Entry>()
  for (const [index, line] of text.split("\n").entries()) {
    const written = line.trim()
    if (written === "" || written.startsWith("#")) continue
    const entry = yield* readLine(written)
    if (typeof entry === "string") {
      return yield* new TokenFileError({ message: `line ${index + 1} of the token file ${path}: ${entry}` })
    }
    entries.set(`${Hex.encode(entry.digest)} ${JSON.stringify(entry.grant)}`, entry)
  }
  if (entries.size === 0) {
    const message = `the token file ${path} has no token, so that no client could enter. Make one with rankd token`
    return yield* new TokenFileError({ message })
  }
  return entries
})

/** The tokens of the file at `path`. Fails with `TokenFileError` if it cannot read the file, or a line is wrong. */
export const make = Effect.fnUntraced(function* (path: string) {
  const context = yield* Effect.context<FileSystem.FileSystem | Digest.Digest>()
  let entries = yield* read(path)
  const observers = new Set<(holds: (grant: Grant) => boolean) => void>()
  const tokens: Tokens = {
    authenticate: (token) =>
      Effect.map(Effect.provideContext(sha256(token), context), (digest) => {
        let found: Grant | undefined
        // Every entry is compared, so that the time tells nothing.
        for (const entry of entries.values()) if (Mac.timingSafeEqual(entry.digest, digest)) found = entry.grant
        return found
      }),
    observe: (changed) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => observers.add(changed)),
          () => Effect.sync(() => observers.delete(changed))
        )
      ),
    reload: Effect.map(Effect.provideContext(read(path), context), (next) => {
      // An unchanged line keeps its grant, and so its bearers stay.
      entries = new Map([...next].map(([key, entry]) => [key, entries.get(key) ?? entry]))
      const grants = new Set([...entries.values()].map(({ grant }) => grant))
      for (const changed of observers) changed((grant) => grants.has(grant))
    })
  }
  return tokens
})

/** Makes a token and its line for the token file. `words` are rights, such as `may=execute`; they are not checked. */
export const generate = Effect.fnUntraced(function* (name: string | undefined, words: ReadonlyArray<string>) {
  const token = Base64Url.encode(SecureRandom.randomBytesUnsafe(TOKEN_BYTES))
  const named = name === undefined ? [] : [`name=${name}`]
  const line = [`sha256:${Hex.encode(yield* sha256(token))}`, ...named, ...words].join(" ")
  return { token, line }
})
