/** What `npm pack` packs, installed as an app does it. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { shell } from "./support/process.ts"

const root = fileURLToPath(new URL("..", import.meta.url))
const read = (path: string) => readFileSync(join(root, path), "utf8")

/** The files of a folder and of those in it, as paths in it. */
const files = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))

const app = `
import { NodeRuntime } from "@effect/platform-node"
import { Console, Effect, Layer } from "effect"
import { Leader, NodeClient, NodeServer, RankServer, Settings } from "rankd"

const host = "127.0.0.1"

const Client = Layer.unwrap(
  Effect.map(RankServer, ({ address }) => {
    if (address._tag === "UnixPathAddress") throw new Error(address.path)
    return NodeClient.layer({ host, port: address.port })
  })
).pipe(
  Layer.provide(RankServer.layer),
  Layer.provide(NodeServer.layer({ host, port: 0 })),
  Layer.provide(Settings.layer({ maxClients: 1 }))
)

Leader.whileLeader((epoch) => Console.log("leads under", epoch)).pipe(Effect.provide(Client), NodeRuntime.runMain)
`

/** Runs the command in the folder, with this process's Node, and returns what it prints. It has to succeed. */
const runs = (folder: string, command: string) =>
  Effect.gen(function* () {
    const run = yield* inFolder(folder, command)
    assert.strictEqual(yield* run.exit, 0, run.stdout() + run.stderr())
    return run.stdout()
  })

const inFolder = (folder: string, command: string) =>
  shell(`export PATH="${dirname(process.execPath)}:$PATH"; cd "${folder}" && exec ${command}`)

it.live("npm pack gives a command and typed modules, and nothing else", () =>
  Effect.gen(function* () {
    const folder = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rankd-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
    )
    mkdirSync(join(root, "dist"), { recursive: true })
    writeFileSync(join(root, "dist/stale.js"), "")
    yield* runs(root, `npm pack --pack-destination "${folder}"`)

    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    // npm would fetch the peers; the app has those of this checkout.
    yield* runs(folder, "npm install --offline --legacy-peer-deps ./rankd-*.tgz")
    for (const peer of ["effect", "@effect"]) {
      symlinkSync(join(root, "node_modules", peer), join(folder, "node_modules", peer))
    }
    const built = files(join(root, "src")).flatMap((file) => {
      const path = join("dist", file.replace(/\.ts$/, ""))
      return [`${path}.js`, `${path}.d.ts`]
    })
    const pages = files(join(root, "docs")).map((file) => join("docs", file))
    assert.include(pages, "docs/protocol.md")
    assert.sameMembers(files(join(folder, "node_modules/rankd")), [
      "LICENSE",
      "README.md",
      "SECURITY.md",
      "package.json",
      ...pages,
      ...built
    ])

    const { version } = JSON.parse(read("package.json"))
    assert.strictEqual(yield* runs(folder, "node_modules/.bin/rankd --version"), `rankd v${version}\n`)
    const server = yield* inFolder(folder, "node_modules/.bin/rankd --port 0")
    const wire = yield* server.connect
    assert.match((yield* wire.until(() => true))[0]!, /^RANK 0 1 /)

    const examples = ["README.md", "docs/embedding.md"].flatMap((page) =>
      Array.from(read(page).matchAll(/```ts\n([\s\S]*?)```/g), ([, source]) => source!)
    )
    assert.strictEqual(examples.length, 5)
    for (const [index, source] of [app, ...examples].entries()) {
      writeFileSync(join(folder, `app${index}.ts`), source)
    }
    const compilerOptions = { module: "nodenext", target: "es2024", strict: true, skipLibCheck: false, noEmit: true }
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions }))
    yield* runs(folder, join(root, "node_modules/.bin/tsc"))
    assert.match(yield* runs(folder, "node app0.ts"), /^leads under [0-9]+$/m)
  }).pipe(Effect.scoped)
)
