/** Who may import whom in `src`, types included: a file that does not find its place in the table fails. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"

const src = fileURLToPath(new URL("../src", import.meta.url))

/** Files of the server that every room of it may import. They import nothing, or one another. */
const leaves = [
  "server/Lease.ts",
  "server/RateLimiter.ts",
  "server/Settings.ts",
  "server/Sweeper.ts",
  "server/time.ts",
  "server/wakeLater.ts"
]

/** What every room of the server may import. */
const shared = ["protocol", "rank", "net", "server/events", ...leaves]

const peer = [...shared, "server/Peer.ts", "server/outbound"]

/** Each room, and the rooms that it may import beside itself. */
const table: Readonly<Record<string, ReadonlyArray<string>>> = {
  protocol: [],
  rank: [],
  net: [],
  "server/events": [],
  "server/Settings.ts": ["protocol"],
  "server/Lease.ts": [],
  "server/RateLimiter.ts": [],
  "server/wakeLater.ts": [],
  "server/time.ts": [],
  "server/Sweeper.ts": ["server/wakeLater.ts"],
  "server/log": ["server/events", ...leaves],
  "server/outbound": shared,
  "server/Peer.ts": ["server/outbound", "server/events", "server/Lease.ts", "protocol"],
  "server/commands": peer,
  "server/group": [...peer, "server/commands"],
  "server/admission": [...peer, "server/commands", "server/group"],
  "server/session": [...peer, "server/commands", "server/group", "server/admission"],
  "server/Server.ts": ["server", "protocol", "rank", "net"],
  client: ["protocol", "net"],
  agent: ["protocol", "client"],
  cli: ["protocol", "rank", "net", "server", "client", "agent", "index.ts"],
  "index.ts": ["protocol", "rank", "net", "server", "client", "agent"],
  "main.ts": ["cli"]
}

/** The rooms that know the platform they run on. */
const platform = ["net/node", "cli", "testing", "main.ts"]

const isIn = (path: string, room: string) => path === room || path.startsWith(`${room}/`)
const roomOf = (path: string) => Object.keys(table).find((room) => isIn(path, room))

/** Every file, by its path in `src`, and what it imports: other files by their paths, packages by their names. */
const files = new Map(
  readdirSync(src, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => {
      const text = readFileSync(file, "utf8")
      const imports = [...text.matchAll(/\b(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(([, name = ""]) =>
        name.startsWith(".") ? join(dirname(file), name).slice(src.length + 1) : name
      )
      return [file.slice(src.length + 1), { imports: new Set(imports), lines: text.split("\n").length - 1 }] as const
    })
    .sort()
)

/** A line for each import that `allowed` does not accept. */
const rejected = (allowed: (from: string, imported: string) => boolean) =>
  [...files].flatMap(([from, { imports }]) =>
    [...imports].filter((imported) => !allowed(from, imported)).map((imported) => `${from} -> ${imported}: not allowed`)
  )

/** The first circle of imports that begins at `file`, as the files on its way; none of `done` is looked at again. */
const circle = (file: string, way: ReadonlyArray<string>, done: Set<string>): ReadonlyArray<string> | undefined => {
  if (way.includes(file)) return [...way.slice(way.indexOf(file)), file]
  if (done.has(file)) return undefined
  done.add(file)
  for (const imported of files.get(file)?.imports ?? []) {
    const found = circle(imported, [...way, file], done)
    if (found !== undefined) return found
  }
  return undefined
}

describe("src", () => {
  it("has no file outside the rooms of the table, and no room without a file", () => {
    assert.deepStrictEqual(
      [...files.keys()].filter((file) => roomOf(file) === undefined).map((file) => `${file}: in no room`),
      []
    )
    assert.deepStrictEqual(
      Object.keys(table).filter((room) => ![...files.keys()].some((file) => isIn(file, room))),
      []
    )
  })

  it("imports only what the table allows", () => {
    const allowed = (from: string, imported: string) => {
      const room = roomOf(from)
      if (!files.has(imported) || room === undefined) return true
      return [room, ...table[room]!].some((other) => isIn(imported, other))
    }
    assert.deepStrictEqual(rejected(allowed), [])
  })

  it("has no circle of imports, types included", () => {
    const done = new Set<string>()
    const circles = [...files.keys()].flatMap((file) => circle(file, [], done)?.join(" -> ") ?? [])
    assert.deepStrictEqual(circles, [])
  })

  it("knows its platform only where it may", () => {
    const isPlatform = (name: string) => /^(?:node:(?!buffer$)|@effect\/platform-)/.test(name)
    assert.deepStrictEqual(
      rejected((from, imported) => !isPlatform(imported) || platform.some((room) => isIn(from, room))),
      []
    )
  })

  it("has no file over 300 lines, and no folder of more than 14 files", () => {
    const long = [...files].filter(([, { lines }]) => lines > 300).map(([file, { lines }]) => `${file}: ${lines} lines`)
    assert.deepStrictEqual(long, [])
    const folders = Map.groupBy(files.keys(), dirname)
    const full = [...folders]
      .filter(([, its]) => its.length > 14)
      .map(([folder, its]) => `${folder}: ${its.length} files`)
    assert.deepStrictEqual(full, [])
  })
})
