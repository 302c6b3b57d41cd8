/** Clients that end their side, as `nc -N` and `socat` do at the end of a script. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { connect, Network, passes, say, server, settled } from "../../support/memoryServer.ts"
import { transcript } from "../../support/transcript.ts"

const grace = Duration.seconds(5)
const commandTimeout = Duration.seconds(2)

describe("a client that ends its side", () => {
  it.effect("gives up its seat, gets the outcomes of its open commands, and is disconnected after the last one", () =>
    transcript(`
      a b c d> connect
      b> WATCH
      b  MEMBER 0 m1 - unknown
      b  MEMBER 1 m2 - unknown
      b  MEMBER 2 m3 - unknown
      b  MEMBER 3 m4 - unknown
      b  END 4 4
      a> EXEC#x 2-3 make
      a> EXEC#y 1 make
      c  EXEC#1 0 make
      d  EXEC#2 0 make
      b  EXEC#3 0 make
      a> (end)
      b  LEFT 0 m1 closed
      b  RANK 0 3 5 m2
      c  RANK 1 3 5 m3
      d  RANK 2 3 5 m4
      b> EXEC#z 1 other
      c  EXEC#4 0 other
      c> OUTPUT#1 so far
      a  OUTPUT#x 2 so far
      c> RESULT#1 0 so good
      a  RESULT#x 2 0 so good
      # The client has no seat any more: it hears of nothing else.
      d> NAME dora
      d  NAMED 2 m4 dora
      b  NAMED 2 m4 dora
      d> QUIT
      d  BYE quit
      a  RESULT#x 3 lost
      a  DONE#x 1 1
      b  LEFT 2 m4 quit
      a  (nothing)
      b> RESULT#3 7
      a  RESULT#y 1 7
      a  (closed)
      c> RESULT#4 0
      b  RESULT#z 1 0
    `).pipe(server())
  )

  it.effect("is disconnected at once if none of its commands is open", () =>
    transcript(`
      a b> connect
      a> EXEC#x 1 make
      b  EXEC#1 0 make
      b> RESULT#1 0
      a  RESULT#x 1 0
      a> PING last
      a> (end)
      a  PONG last
      b  RANK 0 1 3 m2
      a  (closed)
    `).pipe(server())
  )

  it.effect("speaks JSON as well, and gets outcomes of a stuck target after the command timeout", () =>
    transcript(`
      b a c> connect
      a> {"_tag":"Exec","id":"x","to":"2","command":"make","timeout":60000}
      c  EXEC#1 1 make
      a> (end)
      c  RANK 1 2 4 m3
      -- 2100 millis
      c  CANCEL#1
      a  {"_tag":"Result","id":"x","rank":2,"status":"timeout"}
      a  (closed)
    `).pipe(server({ commandTimeout }))
  )

  it.effect("keeps its place for the grace, and another connection may resume it meanwhile", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a, b] = yield* connect(2)
      const [welcome] = yield* say(a, '{"_tag":"Hello","protocol":1}')
      const { resume } = JSON.parse(welcome ?? "")
      yield* say(a, '{"_tag":"Exec","id":"x","to":"1","command":"make"}')
      a.close()
      yield* settled
      assert.deepStrictEqual(yield* say(b, "RANKS"), [
        "EXEC#1 0 make",
        "MEMBER 0 m1 - absent",
        "MEMBER 1 m2 - unknown",
        "END 2 2"
      ])
      const again = yield* network.connect
      const answers = yield* say(again, JSON.stringify({ _tag: "Hello", protocol: 1, resume }))
      assert.include(answers.join(), '"member":"m1"')
      yield* say(b, "RESULT#1 0 done")
      assert.deepStrictEqual(a.lines(), ['{"_tag":"Result","id":"x","rank":1,"status":0,"output":"done"}'])
      assert.isTrue(a.ended)
      assert.deepStrictEqual(again.lines(), [])
    }).pipe(server({ grace }))
  )

  it.effect("counts as a connection until its last outcome", () =>
    transcript(`
      a b> connect
      a> EXEC#x 1 make
      b  EXEC#1 0 make
      a> (end)
      b  RANK 0 1 3 m2
      c  ERROR - server full: too many connections
      c  (closed)
      c> (reset)
      b> RESULT#1 0
      a  RESULT#x 1 0
      a  (closed)
      d  RANK 1 2 4 m3
    `).pipe(server({ maxConnections: 2 }))
  )

  it.effect("hears that the server stops", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const [a] = yield* connect(2)
      yield* say(a, "EXEC#x 1 make")
      a.close()
      yield* settled
      yield* Effect.forkChild(network.stop)
      yield* passes("200 millis")
      assert.deepStrictEqual(a.lines(), ["RESULT#x 1 lost", "BYE shutting down"])
    }).pipe(server({ drain: Duration.millis(100) }))
  )

  it.effect("has its outcomes logged once it is gone", () => {
    const logged: Array<string> = []
    return Effect.gen(function* () {
      const [a, b] = yield* connect(2)
      yield* say(a, "EXEC#x 1 make", "EXEC#y 1 make", "EXEC#z 1 make")
      a.close()
      yield* settled
      a.reset()
      // The server learns it when it writes.
      yield* say(b, "RESULT#1 0", "RESULT#2 0")
      yield* say(b, "RESULT#3 0")
      yield* passes("200 millis")
      assert.deepStrictEqual(
        logged.filter((line) => line.startsWith("ended")),
        ["ended without its issuer issuer=m1 id=z outcomes=m2=0"]
      )
    }).pipe(server({}, logged))
  })
})
