/** Why this client does not lead yet, in words: so that a person does not wait for nothing. */
import { Duration, Effect, Option, Stream, SubscriptionRef } from "effect"
import type { Standing } from "../../client/Connection.ts"
import type { Listed } from "../../client/memberList.ts"
import type { RankClient } from "../../client/RankClient.ts"

const MILLIS = 1000

/** Where this client has rank 0 and its command does not run yet. A command that runs under its own lease does not wait. */
export const waitsAt =
  ({ lead }: RankClient["Service"]) =>
  ({ leadIn = 0 }: Standing): string =>
    leadIn === 0 || lead.terms.present !== undefined
      ? ""
      : `; waits ${(leadIn / MILLIS).toFixed(1)}s: an earlier leader may still work`

/** A member may get its place before it asks for a lease. */
const LOOK_AFTER = Duration.seconds(1)

/** Members further behind do not look: the list of a large group is long. */
const MOST_LOOKING = 10

/** Undefined if the member at rank 0 leads, or the server is too old to know. */
const blocking = (members: ReadonlyArray<Listed>, self: string): string | undefined => {
  const [first] = members
  const isKnown = members.some(({ lease, member }) => member === self && lease === true)
  if (first === undefined || !isKnown || first.lease === true) return undefined
  const name = first.name === undefined ? "" : ` (${first.name})`
  return `${first.member}${name} has rank 0 but no lease: it does not lead, and nobody else can until it leaves`
}

/** Reports a member that has rank 0 and does not lead, until the scope closes. */
export const reportBlocking = Effect.fnUntraced(function* (
  { roster, standing }: RankClient["Service"],
  notice: (message: string) => Effect.Effect<void>
) {
  const look = Effect.fnUntraced(function* ({ member }: Standing) {
    yield* Effect.sleep(LOOK_AFTER)
    const members = yield* Stream.runHead(Stream.filter(roster, (members) => members.length > 0))
    const message = blocking(
      Option.getOrElse(members, () => []),
      member
    )
    if (message !== undefined) yield* notice(message)
  })
  yield* SubscriptionRef.changes(standing).pipe(
    Stream.switchMap((now) =>
      now === undefined || now.rank === 0 || now.rank > MOST_LOOKING ? Stream.empty : Stream.fromEffect(look(now))
    ),
    Stream.runDrain,
    Effect.forkScoped
  )
})
