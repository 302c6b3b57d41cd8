/** The outcome of a line. Only the `Reader` acts on it. */
import type { Effect } from "effect"
import type { Reason } from "../../protocol/Reasons.ts"
import type { CloseCause } from "../events/CloseCause.ts"

export type Step =
  /** The line is done. */
  | undefined
  /** The client gets an `ERROR`. With `thenYield`, other sessions run before the next line. */
  | {
      readonly _tag: "Reject"
      readonly reason: Reason
      readonly detail?: string | undefined
      readonly id?: string | undefined
      readonly thenYield?: boolean
    }
  /** Nothing was done. Repeat the line after `until`. If the line was `charged` to the rate, refund it. */
  | { readonly _tag: "Retry"; readonly until: Effect.Effect<void>; readonly charged: boolean }
  /** The rest of the line needs an effect. */
  | { readonly _tag: "Wait"; readonly effect: Effect.Effect<Step> }
  /** The session ends. */
  | { readonly _tag: "Close"; readonly cause: CloseCause }

export const DONE = undefined

export const reject = (reason: Reason, detail?: string, id?: string): Step => ({ _tag: "Reject", reason, detail, id })

export const retry = (until: Effect.Effect<void>, charged = false): Step => ({ _tag: "Retry", until, charged })

export const wait = (effect: Effect.Effect<Step>): Step => ({ _tag: "Wait", effect })

export const close = (cause: CloseCause): Step => ({ _tag: "Close", cause })
