/** The error of everything in `client` that the server rejects, or would reject. */
import { Schema } from "effect"
import type { ServerMessage } from "../protocol/Messages.ts"
import { Reason } from "../protocol/Reasons.ts"

/** The server rejected a message. `reason` is one of the protocol's phrases; `detail` is for people. */
export class Rejected extends Schema.TaggedError<Rejected>()("Rejected", {
  reason: Reason,
  detail: Schema.optionalKey(Schema.String)
}) {
  override get message() {
    return this.detail === undefined ? this.reason : `${this.reason}: ${this.detail}`
  }
}

export const rejectedBy = ({ detail, reason }: ServerMessage & { readonly _tag: "Error" }): Rejected =>
  new Rejected(detail === undefined ? { reason } : { reason, detail })
