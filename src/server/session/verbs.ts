/** The table of verbs: what each verb needs, which limits it counts in, and what it does. A new verb is one entry. */
import type { ClientMessage } from "../../protocol/Messages.ts"
import { helpTexts } from "../../protocol/text/TextCodec.ts"
import { EVERYTHING } from "../admission/Access.ts"
import { listed, memberList } from "../group/memberList.ts"
import { find, reach } from "../group/reach.ts"
import type { ClientSession, Seated } from "./ClientSession.ts"
import { explain, issue } from "./issuing.ts"
import { close, DONE, reject, retry, type Step, wait } from "./Step.ts"
import { authenticate, hello, join, rename, stepDown } from "./seating.ts"

interface Flags {
  /** It may change the order: it waits for watchers that do not keep up, and counts in the rate. */
  readonly changesOrder?: boolean
  /** It issues a command: the token must allow that, and it counts in the rate. */
  readonly issues?: boolean
}

export type Verb<Message> = Flags &
  (
    | {
        /** What the client needs: nothing, or a token if the server asks for one. */
        readonly needs: "nothing" | "token"
        run(session: ClientSession, message: Message): Step
      }
    | {
        readonly needs: "seat"
        run(session: ClientSession, message: Message, seated: Seated): Step
      }
  )

type Tag = ClientMessage["_tag"]

export const verbs: { readonly [tag in Tag]: Verb<ClientMessage & { readonly _tag: tag }> } = {
  Auth: {
    needs: "nothing",
    run: (session, { token }) => {
      const { state } = session
      if (state._tag === "Unauthenticated") return wait(authenticate(session, token))
      const isOpen = "bearer" in state && state.bearer.grant === EVERYTHING
      return reject("not authorized", isOpen ? "this server asks for no token" : "you have shown one already")
    }
  },
  Cancel: {
    needs: "seat",
    run: (session, { id }) => {
      const command = session.issuer().open.get(id)
      // Not `ERROR#`: that would end a command, and this command may just have ended.
      if (command === undefined) return reject("no such command", id)
      session.context.commands.cancel(command)
      return DONE
    }
  },
  Exec: { needs: "seat", issues: true, run: (session, message, seated) => issue(session, seated, message) },
  Explain: {
    needs: "seat",
    run: (session, { to }, { rank, roster }) => explain(session, roster, reach(roster, rank, to))
  },
  Hello: { needs: "token", changesOrder: true, run: hello },
  Help: {
    needs: "token",
    run: (session) => {
      for (const text of helpTexts) session.send({ _tag: "Help", text })
      return DONE
    }
  },
  Join: { needs: "token", changesOrder: true, run: (session, { group }) => wait(join(session, group)) },
  Name: { needs: "seat", changesOrder: true, run: (session, { name }) => wait(rename(session, name)) },
  Output: { needs: "seat", run: report },
  Ping: {
    needs: "token",
    run: (session, { text }) => {
      const pong = session.codec.encodeServer({ _tag: "Pong", ...(text === undefined ? {} : { text }) })
      // In JSON it may be longer than the `PING`.
      if (Buffer.byteLength(pong) >= session.context.settings.maxLine) {
        return reject("malformed", "the answer would be longer than a line may be")
      }
      session.outbox.appendLine(pong)
      return DONE
    }
  },
  Pong: { needs: "token", run: () => DONE },
  Quit: { needs: "nothing", run: () => close("quit") },
  Ranks: {
    needs: "seat",
    run: (session, _, { roster }) => {
      session.outbox.appendStream(memberList(session, roster))
      return DONE
    }
  },
  Result: { needs: "seat", run: report },
  Unwatch: {
    needs: "seat",
    run: (session, _, { seat }) => {
      seat.group.notifier.unwatch(session)
      return DONE
    }
  },
  Watch: {
    needs: "seat",
    run: (session, _, { roster, seat }) => {
      seat.group.notifier.watch(session)
      session.outbox.appendStream(memberList(session, roster))
      return DONE
    }
  },
  Whois: {
    needs: "seat",
    run: (session, { who }, { roster }) => {
      const found = find(roster, who)
      if (found === undefined) return reject("no such member")
      session.send({ _tag: "Member", ...listed(found.member, found.rank) })
      return DONE
    }
  },
  Yield: { needs: "seat", changesOrder: true, run: (session, _, { seat }) => wait(stepDown(session, seat)) }
}

/** Passes output or an outcome on to the issuer; waits for an issuer that does not keep up. */
function report(session: ClientSession, message: ClientMessage & { readonly _tag: "Output" | "Result" }): Step {
  const congested = session.context.commands.report(session, message)
  return congested && retry(congested.writable)
}
