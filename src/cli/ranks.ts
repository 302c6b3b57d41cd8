/** `rankd ranks`: the members of a group, as a table or as JSON. */
import { Console, Effect, Option, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { RankClient } from "../client/RankClient.ts"
import type { Listed } from "../client/Watched.ts"
import * as Connection from "./connection.ts"

/** Columns as wide as their widest cell. */
const table = (rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

const asTable = (members: ReadonlyArray<Listed>, self: string): string =>
  table([
    ["RANK", "MEMBER", "NAME", "ADDRESS"],
    ...members.map(({ address, member, name, rank }) => [
      `${rank}`,
      member,
      name ?? "-",
      `${address ?? "-"}${member === self ? " (this command)" : ""}`
    ])
  ])

const run = Effect.fnUntraced(
  function* ({ json, ...options }: Connection.Connecting & { readonly json: boolean }) {
    const { roster } = yield* RankClient
    const { member } = yield* Connection.ranked(options)
    const members = yield* roster.pipe(
      Stream.filter((members) => members.length > 0),
      Stream.runHead
    )
    const listed = Option.getOrElse(members, (): ReadonlyArray<Listed> => [])
    yield* Console.log(json ? listed.map((one) => JSON.stringify(one)).join("\n") : asTable(listed, member))
  },
  (effect, options) => Effect.provide(effect, Connection.layer(options))
)

export const command = Command.make(
  "ranks",
  {
    ...Connection.flags,
    json: Flag.Boolean("json").pipe(Flag.withDefault(false), Flag.withDescription("A JSON object a line, for programs"))
  },
  run
).pipe(
  Command.withDescription("List the members of a group; this command is its last member meanwhile"),
  Command.withExamples([{ command: "rankd ranks --group workers", description: "Who is who among the workers" }])
)
