/** Token files: what they grant, what can be wrong with them, and how the server reloads them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { Grant } from "../../../src/server/admission/Access.ts"
import * as Tokens from "../../../src/server/admission/Tokens.ts"

const services = Layer.merge(NodeServices.layer, NodeCrypto.layerDigest)

/** A file with these lines, and a function that replaces them. */
const file = Effect.fnUntraced(function* (...lines: ReadonlyArray<string>) {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )
  const path = join(folder, "tokens")
  const write = (...lines: ReadonlyArray<string>) => writeFileSync(path, lines.join("\n"))
  write(...lines)
  return { path, write }
})

const plain = "a-secret-of-32-characters-or-so!"

describe("a token file", () => {
  it.live("grants a token its name and rights, whether the line has the token or its digest", () =>
    Effect.gen(function* () {
      const worker = yield* Tokens.generate("worker", ["groups=jobs,more", "may=execute"])
      const anybody = yield* Tokens.generate(undefined, [])
      const { path } = yield* file("# ours", "", worker.line, ` ${anybody.line}\r`, `${plain} may=watch`)
      const { authenticate } = yield* Tokens.make(path)
      assert.deepStrictEqual(yield* authenticate(worker.token), {
        name: "worker",
        groups: ["jobs", "more"],
        issue: false,
        execute: true
      })
      assert.deepStrictEqual(yield* authenticate(anybody.token), { issue: true, execute: true })
      assert.deepStrictEqual(yield* authenticate(plain), { issue: false, execute: false })
      for (const wrong of ["", "x", `${plain} `, plain.slice(1), worker.line, worker.line.slice(7, 71)]) {
        assert.isUndefined(yield* authenticate(wrong), wrong)
      }
      assert.notStrictEqual(worker.token, anybody.token)
      assert.match(worker.token, /^[A-Za-z0-9_-]{43}$/)
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("has lines in the older form, too, and names for tokens that stand in it", () =>
    Effect.gen(function* () {
      const { line, token } = yield* Tokens.generate("worker", ["may=issue"])
      const [, hex] = /^sha256:([0-9a-f]{64}) name=worker may=issue$/.exec(line)!
      const old = yield* file(`worker:sha256:${hex} may=issue`)
      const any = yield* file(`*:sha256:${hex}`)
      const written = yield* file(`${plain} name=worker groups=a`)
      const grantOf = (path: string, token: string) =>
        Effect.flatMap(Tokens.make(path), ({ authenticate }) => authenticate(token))
      assert.deepStrictEqual(yield* grantOf(old.path, token), { name: "worker", issue: true, execute: false })
      assert.deepStrictEqual(yield* grantOf(any.path, token), { issue: true, execute: true })
      assert.deepStrictEqual(yield* grantOf(written.path, plain), {
        ...{ name: "worker", groups: ["a"], issue: true, execute: true }
      })
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("is rejected where two lines have become one, whatever the first is", () =>
    Effect.gen(function* () {
      const { line } = yield* Tokens.generate("worker", [])
      const hex = "0".repeat(64)
      const firsts = [plain, "short-secret-of-17", `boss:sha256:${hex}`, `sha256:${hex}`]
      for (const first of [
        ...firsts,
        ...firsts.flatMap((line) => [`${line} name=boss`, `${line} groups=a`, `${line} may=issue`])
      ]) {
        const { path } = yield* file(first + line)
        const error = yield* Effect.flip(Tokens.make(path))
        assert.match(error.message, /^line 1 of the token file /, first)
      }
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live.each([
    [["short"], /^line 1 of the token file .*: a token has 16 characters or more: make one with rankd token$/],
    [["# x", "a:b"], /^line 2 .*: write sha256:<64 hex digits>, as rankd token prints it, or a token without a colon$/],
    [[`m1:sha256:${"0".repeat(64)}`], /a name is 1-64 of .*not like a member id; \* is any$/],
    [[`a:sha256:${"0".repeat(63)}`], /write sha256:<64 hex digits>/],
    [[`a:sha256:${"A".repeat(64)}`], /write sha256:<64 hex digits>/],
    [[`sha256:${"0".repeat(63)}`], /write sha256:<64 hex digits>/],
    [[`${plain} name=m1`], /a name is 1-64 of .*not like a member id$/],
    [[`${plain} name=*`], /a name is 1-64 of /],
    [[`${plain} name=a name=b`], /a line has one name$/],
    [[`a:sha256:${"0".repeat(64)} name=b`], /a line has one name$/],
    [[`${plain}é`], /a token has printable characters only$/],
    [[`${plain} groups=`], /groups= takes names of groups, with commas between them$/],
    [[`${plain} may=everything`], /may= takes issue, execute, both with a comma between them, or watch alone$/],
    [[`${plain} may=watch,issue`], /may= takes/],
    [[`${plain} sudo`], /after the token come name=..., groups=... and may=..., nothing else$/],
    [["", "# nothing"], /has no token, so that no client could enter\. Make one with rankd token$/]
  ] as const)("is rejected as a whole if a line is wrong: %s", ([lines, says]) =>
    Effect.gen(function* () {
      const { path } = yield* file(...lines)
      const error = yield* Effect.flip(Tokens.make(path))
      assert.match(error.message, says)
      assert.isFalse(error.message.includes(plain.slice(0, 8)))
    }).pipe(Effect.scoped, Effect.provide(services))
  )

  it.live("that is missing or cannot be read is an error that names it", () =>
    Effect.gen(function* () {
      const missing = yield* Effect.flip(Tokens.make("/no/such/file"))
      assert.strictEqual(missing.message, "no such file: /no/such/file")
      const folder = yield* Effect.flip(Tokens.make(tmpdir()))
      assert.match(folder.message, /^cannot read the token file \//)
    }).pipe(Effect.provide(services))
  )

  it.live("can be reloaded: an unchanged line keeps its grant, and a file with errors changes nothing", () =>
    Effect.gen(function* () {
      const [one, two] = [yield* Tokens.generate("one", []), yield* Tokens.generate("two", [])]
      const { path, write } = yield* file(one.line, `${two.line} may=issue`)
      const { authenticate, observe, reload } = yield* Tokens.make(path)
      const before = (yield* authenticate(one.token))!
      const changed = (yield* authenticate(two.token))!
      let holds: ((grant: Grant) => boolean) | undefined
      yield* observe((judge) => {
        holds = judge
      })
      write(two.line, "# moved down", one.line, plain)
      yield* reload
      assert.deepStrictEqual([holds?.(before), holds?.(changed)], [true, false])
      assert.deepStrictEqual(yield* authenticate(two.token), { name: "two", issue: true, execute: true })
      assert.isDefined(yield* authenticate(plain))
      holds = undefined
      write("nonsense:")
      assert.match((yield* Effect.flip(reload)).message, /^line 1/)
      assert.isDefined(yield* authenticate(plain))
      assert.isUndefined(holds)
    }).pipe(Effect.scoped, Effect.provide(services))
  )
})
