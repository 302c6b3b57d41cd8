/**
 * Whether a connection is taken at all, and who is let in: the bounds on
 * connections, the clients that have yet to show a token, and what a wrong one
 * costs. A stranger holds no rank and may say next to nothing; all that strangers
 * can do is to be many, and then the oldest goes.
 */
import { Clock, Duration, Effect, type Scope } from "effect"
import { NetworkCount, networkOf } from "../../net/Subnet.ts"
import { type Client, farewell } from "../Peer.ts"
import type { SettingsValues } from "../Settings.ts"
import { type AccessPolicy, EVERYTHING, type Grant } from "./Access.ts"
import { Penalties } from "./AuthBackoff.ts"
import { RateLimit } from "./RateLimiter.ts"
import type { Places } from "./Reservations.ts"

/** Lines of the log a second that strangers can bring about. */
const LOGGED_A_SECOND = 10

export interface Gate {
  /** Counts a connection until it is `closed`; what is wrong with it, where there are too many already. */
  readonly opened: (client: Client) => string | undefined
  readonly closed: (client: Client) => void
  /** Whether the client has its grant; if not, it is a stranger until it shows its token. */
  readonly greet: (client: Client, certified: string | undefined) => boolean
  /** Logs what a stranger did; in a flood of them now and then, with how often it was not logged. */
  readonly log: (message: string, annotations: Record<string, string>) => Effect.Effect<void>
  /** Gives the client the grant of its token; or why not, after a while where the token is wrong. */
  readonly authenticate: (client: Client, token: string) => Effect.Effect<string | undefined>
}

export const make = Effect.fnUntraced(function* (
  access: AccessPolicy | undefined,
  { maxConnections, maxConnectionsPerAddress, maxUnauthenticated }: SettingsValues,
  clients: ReadonlySet<Client>,
  places: Places
): Effect.fn.Return<Gate, never, Scope.Scope> {
  const penalties = new Penalties()
  /** In the order in which they came; with the name that a certificate gives them. */
  const strangers = new Map<Client, string | undefined>()
  const connections = new NetworkCount()
  const logged = new RateLimit(LOGGED_A_SECOND)
  let unlogged = 0

  const log: Gate["log"] = Effect.fnUntraced(function* (message, annotations) {
    if (!logged.take(yield* Clock.currentTimeMillis)) {
      unlogged++
      return
    }
    const more = unlogged === 0 ? {} : { unlogged }
    unlogged = 0
    yield* Effect.annotateLogs(Effect.logWarning(message), { ...annotations, ...more })
  })

  const grant = (client: Client, granted: Grant, certified: string | undefined) => {
    client.granted = granted
    client.executes = granted.execute
    client.grant = certified === undefined ? granted : { ...granted, name: certified }
  }

  if (access !== undefined) {
    yield* access.observe((holds) => {
      for (const client of clients) {
        if (client.granted === undefined || holds(client.granted)) continue
        client.end(farewell("kicked"))
      }
      places.giveUp(({ granted }) => granted !== undefined && !holds(granted))
    })
  }

  return {
    opened: ({ address }) => {
      connections.add(address, 1)
      if (connections.total > maxConnections) return "too many connections"
      return connections.of(address) > maxConnectionsPerAddress ? "too many connections from your address" : undefined
    },
    closed: (client) => {
      connections.add(client.address, -1)
      strangers.delete(client)
    },
    greet: (client, certified) => {
      if (access === undefined) {
        grant(client, EVERYTHING, certified)
        return true
      }
      strangers.set(client, certified)
      const [oldest] = strangers.keys()
      if (strangers.size > maxUnauthenticated && oldest !== undefined) {
        strangers.delete(oldest)
        oldest.end({
          reason: "not authorized",
          lastWords: { _tag: "Error", reason: "busy", detail: "too many connections that have shown no token" }
        })
      }
      return false
    },
    log,
    authenticate: Effect.fnUntraced(function* (client, token) {
      const { address } = client
      const granted = yield* access!.authenticate(token)
      // It was the oldest of too many meanwhile.
      if (!strangers.has(client)) return "too late"
      const certified = strangers.get(client)
      const mismatch = granted?.name !== undefined && certified !== undefined && granted.name !== certified
      if (granted === undefined || mismatch) {
        yield* log("wrong token", { address })
        yield* Effect.sleep(Duration.millis(penalties.wrong(networkOf(address), yield* Clock.currentTimeMillis)))
        return "wrong token"
      }
      strangers.delete(client)
      grant(client, granted, certified)
      return undefined
    })
  }
})
