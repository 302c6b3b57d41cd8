/** A server that starts again with its clock an hour behind, as processes and with a clock that is really wrong. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rankd, rankdCommand, says, shell } from "../support/process.ts"

/** The epochs under which this command has led. */
const ledUnder = (stdout: string) => [...stdout.matchAll(/^epoch (\d+)$/gm)].map(([, epoch]) => Number(epoch))

describe("epochs", { concurrent: true }, () => {
  it.live.each(["connect", "hello"])(
    "do not run backwards for a client that comes back (--admission %s)",
    (admission) =>
      Effect.gen(function* () {
        const first = yield* rankd(["serve", "--port", "0", "--settle", "0", "--admission", admission])
        const { socket } = yield* first.connect
        const port = `${socket.remotePort}`
        socket.destroy()
        const leader = yield* rankd([
          "lead",
          "--port",
          port,
          "--heartbeat",
          "250ms",
          "--",
          "sh",
          "-c",
          'echo "epoch $RANKD_EPOCH"; trap "echo stopped; exit 0" TERM; while :; do sleep 0.02; done'
        ])
        yield* says(leader.stdout, /^epoch \d+\n$/)
        first.child.kill("SIGKILL")
        yield* first.exit
        // While its work runs, the leader keeps its epoch.
        yield* says(leader.stdout, /stopped\n$/)
        const second = yield* shell(
          `exec faketime -f -1h ${rankdCommand} serve --settle 0 --port ${port} --admission ${admission}`
        )
        yield* says(leader.stdout, /^epoch \d+\nstopped\nepoch \d+\n$/)
        const [before = 0, after = 0] = ledUnder(leader.stdout())
        assert.isAbove(after, before)
        // The clock of the server is behind indeed.
        assert.isBelow(Date.parse(/timestamp=(\S+)/.exec(second.stderr())?.[1] ?? ""), before / 1000)
        // Nobody comes back to this group: nothing but the clock makes its epochs.
        const fresh = yield* second.connect
        fresh.send("JOIN other", "RANKS")
        const end = (yield* fresh.until((line) => line.startsWith("END"))).at(-1)
        assert.isBelow(Number(end?.split(" ")[2]), before)
      }).pipe(Effect.scoped)
  )
})
