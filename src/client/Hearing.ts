/**
 * What a client knows from what the server says: where it stands, and what that means for its lease and for the next
 * `Hello`. `Connection` reads the messages.
 *
 * Invariant: at most one `Hello` of a connection waits for its answer.
 */
import { Effect, SubscriptionRef } from "effect"
import type { Socket } from "effect/socket"
import type { ServerMessage } from "../protocol/Messages.ts"
import type { Lease } from "./lease/Lease.ts"
import type { Stopwatch } from "./lease/Stopwatch.ts"
import type { Terms } from "./lease/Terms.ts"
import type { NextHello } from "./Reconnect.ts"
import type { Rejected } from "./Rejected.ts"
import type { SendQueue } from "./SendQueue.ts"

/** Where a client stands, as the server said last; `size` and `epoch` are from the last change of its own rank. */
export interface Standing {
  readonly member: string
  readonly group: string
  readonly rank: number
  readonly size: number
  readonly epoch: number
  /** At rank 0 of a client with a lease: for so many milliseconds from then, work that does not run already must not begin. */
  readonly leadIn?: number
}

/** What a message says about that. */
const standingIn = (
  { epoch, leadIn, member, rank, size }: ServerMessage & { readonly _tag: "Rank" | "Welcome" },
  group: string
): Standing => ({ epoch, group, member, rank, size, ...(leadIn === undefined ? {} : { leadIn }) })

/** What the server says about itself when it admits the client. */
export interface ServerLimits {
  /** How long a command may take that asks for no timeout, in milliseconds. Older servers do not say it. */
  readonly commandTimeout: number | undefined
  /** The longest timeout that a command may ask for, in milliseconds. Older servers do not say it. */
  readonly maxCommandTimeout: number | undefined
}

/** What all connections of one client share. */
export interface State {
  readonly standing: SubscriptionRef.SubscriptionRef<Standing | undefined>
  readonly refused: SubscriptionRef.SubscriptionRef<Rejected | undefined>
  readonly failure: SubscriptionRef.SubscriptionRef<Socket.SocketError | undefined>
  readonly limits: SubscriptionRef.SubscriptionRef<ServerLimits | undefined>
  readonly terms: Terms
  readonly socket: Socket.Socket
  readonly stopwatch: Stopwatch
  readonly hello: NextHello
  readonly outgoing: SendQueue
  maxLine: number
  connections: number
  present: Present | undefined
}

/** What belongs to the present connection. */
export interface Present {
  readonly lease: Lease
  /** Whether the last `Hello` asked for a lease. */
  asked: boolean
  /** Whether the answer to that `Hello` is still to come. */
  awaited: boolean
}

export const isAdmitted = ({ standing }: State): boolean => SubscriptionRef.getUnsafe(standing) !== undefined

/** Says `Hello`; from now on the lease is what it asks for. */
export const sayHello = ({ hello, outgoing }: State, present: Present): void => {
  const { message } = hello
  present.asked = message.lease === true
  present.awaited = true
  present.lease.restart(hello.heartbeat)
  outgoing.add(message)
}

/** Applies the answer to a `Hello`. */
const welcomed = Effect.fnUntraced(function* (
  state: State,
  present: Present,
  message: ServerMessage & { readonly _tag: "Welcome" }
) {
  const { commandTimeout, group, maxCommandTimeout } = message
  const { hello, terms } = state
  const isLate = hello.message.lease === true && !present.asked
  present.awaited = false
  state.maxLine = message.maxLine
  hello.welcomed(message)
  yield* SubscriptionRef.set(state.refused, undefined)
  yield* SubscriptionRef.set(state.limits, { commandTimeout, maxCommandTimeout })
  yield* SubscriptionRef.set(state.standing, standingIn(message, group))
  if (isLate) return sayHello(state, present)
  terms.welcomed(present.asked)
  if (hello.hasLease) yield* terms.told(message)
})

/** Applies what a message says about this client; succeeds with whether the user hears it. */
export const note = Effect.fnUntraced(function* (state: State, present: Present, message: ServerMessage) {
  const now = SubscriptionRef.getUnsafe(state.standing)
  if (now !== undefined && "epoch" in message && message.epoch !== undefined) state.hello.saw(now.group, message.epoch)
  switch (message._tag) {
    case "Welcome":
      yield* welcomed(state, present, message)
      return true
    case "Rank": {
      // A rank before the welcome may be one in another group than the `Hello` asks for.
      if (now === undefined) return true
      yield* SubscriptionRef.set(state.standing, standingIn(message, now.group))
      if (state.hello.hasLease && !present.awaited) yield* state.terms.told({ ...message, group: now.group })
      return true
    }
    case "Named":
      if (message.member === now?.member) state.hello.request({ name: message.name })
      return true
    case "Ping":
      state.outgoing.add({ _tag: "Pong" })
      return false
    case "Pong":
      return !present.lease.answered(message.text)
    case "Bye":
      // The seat belongs to another connection now, or the operator has revoked the client's token.
      if (message.reason === "kicked") yield* state.terms.end
      return true
    case "Error":
      if (message.id === undefined && message.reason === "rate limited") yield* state.terms.yieldAgain
      return true
    default:
      return true
  }
})

/** Whether the message rejects the last `Hello`. */
export const isRefusal = (state: State, { awaited }: Present, message: ServerMessage): message is RejectedMessage =>
  message._tag === "Error" &&
  (!isAdmitted(state) || (awaited && message.id === undefined && message.reason !== "no such command"))

type RejectedMessage = ServerMessage & { readonly _tag: "Error" }
