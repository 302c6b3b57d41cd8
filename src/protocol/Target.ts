/** The target of a command: a rank, a range, everyone below, or one member. It owns the notation of targets. */
import { Effect, Schema, SchemaIssue, SchemaTransformation } from "effect"
import { MemberId, Name, Whole } from "./Ids.ts"

/** A member, wherever it stands. A name is never like a member id. */
const NameOrId = Schema.Union([Name, MemberId])

export const Target = Schema.Union([
  Schema.TaggedStruct("Rank", { rank: Whole }),
  Schema.TaggedStruct("Range", { first: Whole, last: Whole }).check(
    Schema.makeFilter(({ first, last }) => first <= last || "a range runs upwards, like 2-5")
  ),
  Schema.TaggedStruct("Everyone", {}),
  Schema.TaggedStruct("Member", { who: NameOrId })
]).pipe(Schema.toTaggedUnion("_tag"))
export type Target = typeof Target.Type

/** Whether a command to this target ends with `Done`; a range of one rank counts. */
export const isForSeveral = ({ _tag: tag }: Target): boolean => tag === "Everyone" || tag === "Range"

const decimal = "0|[1-9][0-9]*"
const rankOrRange = new RegExp(`^(?<first>${decimal})(?:-(?<last>${decimal}))?$`)

/** A rank may have any number of digits. A larger one than a number holds counts as the largest, which nobody has. */
const saturated = (rank: number): number => Math.min(rank, Number.MAX_SAFE_INTEGER)

const RANK = "Expected a rank (3), a range (2-5), *, @name or @m7"

const read = (written: string | number): typeof Target.Encoded | undefined => {
  if (typeof written === "number") {
    // Adding 0 turns -0 into 0.
    return Number.isInteger(written) && written >= 0 ? { _tag: "Rank", rank: saturated(written + 0) } : undefined
  }
  if (written === "*") return { _tag: "Everyone" }
  if (written.startsWith("@")) return { _tag: "Member", who: written.slice(1) }
  const { first, last } = rankOrRange.exec(written)?.groups ?? {}
  if (first === undefined) return undefined
  return last === undefined
    ? { _tag: "Rank", rank: saturated(Number(first)) }
    : { _tag: "Range", first: saturated(Number(first)), last: saturated(Number(last)) }
}

const write = (to: Target): string => {
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

/** `3`, `2-5`, `*`, `@name` or `@m7`. In JSON a rank may be a number; the encoder always writes a string. */
export const WrittenTarget = Schema.Union([Schema.String, Schema.Number])
  .annotate({ message: RANK })
  .pipe(
    Schema.decodeTo(
      Target,
      SchemaTransformation.transformEffect<typeof Target.Encoded, string | number>({
        decode: (written, options) => {
          const target = read(written)
          return target === undefined
            ? Effect.fail(new SchemaIssue.InvalidValue({ message: RANK }, written, options))
            : Effect.succeed(target)
        },
        encode: (to) => Effect.succeed(write(to))
      })
    )
  )

const MEMBER = "Expected @name or @m7"

/** `@name` or `@m7`: one member, as a target names it. */
export const WrittenMember = Schema.String.annotate({ message: MEMBER }).pipe(
  Schema.decodeTo(
    NameOrId,
    SchemaTransformation.transformEffect<string, string>({
      decode: (written, options) =>
        written.startsWith("@")
          ? Effect.succeed(written.slice(1))
          : Effect.fail(new SchemaIssue.InvalidValue({ message: MEMBER }, written, options)),
      encode: (who) => Effect.succeed(`@${who}`)
    })
  )
)
