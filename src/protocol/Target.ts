/** Whom a command is for: a rank, a range, everyone below, or a member by name or id. */
import { Effect, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { MemberId, Name, Whole } from "./Ids.ts"

/** Whom a command is for. */
export const Target = Schema.Union([
  Schema.TaggedStruct("Rank", { rank: Whole }),
  Schema.TaggedStruct("Range", { first: Whole, last: Whole }).check(
    Schema.makeFilter(({ first, last }) => first <= last || "a range runs upwards, like 2-5")
  ),
  Schema.TaggedStruct("Everyone", {}),
  Schema.TaggedStruct("Member", { who: Schema.Union([Name, MemberId]) })
]).pipe(Schema.toTaggedUnion("_tag"))
export type Target = typeof Target.Type

const decimal = "0|[1-9][0-9]*"
const rankOrRange = new RegExp(`^(?<first>${decimal})(?:-(?<last>${decimal}))?$`)

/**
 * A rank of any length is well formed, but a number holds 2^53 - 1 at most: what
 * is larger counts as that. Nobody ever stands there.
 */
const saturated = (digits: string): number => Math.min(Number(digits), Number.MAX_SAFE_INTEGER)

/** `3`, `2-5`, `*`, `@name` or `@m7`. */
export const TargetFromString = Schema.String.pipe(
  Schema.decodeTo(
    Target,
    SchemaTransformation.transformEffect<typeof Target.Encoded, string>({
      decode: (text, options) => {
        if (text === "*") return Effect.succeed({ _tag: "Everyone" })
        if (text.startsWith("@")) return Effect.succeed({ _tag: "Member", who: text.slice(1) })
        const { first, last } = rankOrRange.exec(text)?.groups ?? {}
        if (first === undefined) {
          return Effect.fail(
            new SchemaIssue.InvalidValue(
              { message: "Expected a rank (3), a range (2-5), *, @name or @m7" },
              text,
              options
            )
          )
        }
        return Effect.succeed(
          last === undefined
            ? { _tag: "Rank", rank: saturated(first) }
            : { _tag: "Range", first: saturated(first), last: saturated(last) }
        )
      },
      encode: (to) => Effect.succeed(writeTarget(to))
    })
  )
)

const writeTarget = (to: Target): string => {
  switch (to._tag) {
    case "Rank":
      return `${to.rank}`
    case "Range":
      return `${to.first}-${to.last}`
    case "Everyone":
      return "*"
    case "Member":
      return `@${to.who}`
  }
}
