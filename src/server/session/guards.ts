/** The guards that the `Dispatcher` applies before a verb. A guard returns undefined, or the step that ends the line instead. */
import type { RateLimiter } from "../RateLimiter.ts"
import type { ClientSession, Seated } from "./ClientSession.ts"
import { close, reject, retry, type Step } from "./Step.ts"

/** The most bytes that wait for an unauthenticated client: some hundred answers. */
const MAX_UNAUTHENTICATED_PENDING = 16_384

/** Rejects a line of an unauthenticated client; disconnects the client if it does not read the answers. */
export const needsToken = ({ outbox }: ClientSession, id: string | undefined): Step =>
  outbox.pending > MAX_UNAUTHENTICATED_PENDING
    ? close("unauthenticated")
    : reject("not authorized", "say AUTH <token> first", id)

const withinRate = ({ context }: ClientSession, rate: RateLimiter | undefined, id: string | undefined): Step =>
  rate === undefined || rate.take(context.now())
    ? undefined
    : reject("rate limited", `${rate.perSecond} commands a second at most`, id)

/** Whether the client may issue a command now. */
export const mayIssue = (session: ClientSession, { bearer }: Seated, id: string | undefined): Step =>
  bearer.grant.issue
    ? withinRate(session, bearer.rate, id)
    : reject("not authorized", "your token may not issue commands", id)

/** Whether the client may change the order now. It waits for a watcher that does not keep up, and the change counts in its rate. */
export const mayChangeOrder = (session: ClientSession, { bearer, seat }: Seated): Step => {
  const congested = seat.group.notifier.congested()
  return congested === undefined ? withinRate(session, bearer.rate, undefined) : retry(congested.writable)
}
