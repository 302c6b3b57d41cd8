/** The questions that the `Dispatcher` asks before a verb: each answers with nothing, or with why not. */
import type { RateLimiter } from "../RateLimiter.ts"
import type { ClientSession, Seated } from "./ClientSession.ts"
import { close, reject, retry, type Step } from "./Step.ts"

/** Bytes that may wait for a client that has shown no token: some hundred answers. */
const MAX_UNAUTHENTICATED_PENDING = 16_384

/** For a client that has shown no token. If it does not read, it gets no more time than others. */
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

/** Whether the client may change the order now: it waits for a watcher that does not keep up, and it counts in its rate. */
export const mayChangeOrder = (session: ClientSession, { bearer, seat }: Seated): Step => {
  const congested = seat.group.notifier.congested()
  return congested === undefined ? withinRate(session, bearer.rate, undefined) : retry(congested.writable)
}
