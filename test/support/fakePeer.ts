/** A peer without a session: its outbox writes to memory. */
import { Duration, Effect } from "effect"
import type { Codec } from "../../src/protocol/Codec.ts"
import { textCodec } from "../../src/protocol/text/TextCodec.ts"
import type { CloseCause } from "../../src/server/events/CloseCause.ts"
import type { Lease } from "../../src/server/Lease.ts"
import { FlushQueue } from "../../src/server/outbound/FlushQueue.ts"
import { Outbox } from "../../src/server/outbound/Outbox.ts"
import { ServerTotal } from "../../src/server/outbound/ServerTotal.ts"
import { NO_RANK, type Peer, type PendingDelivery } from "../../src/server/Peer.ts"
import { memoryTransport } from "../server/outbound/memoryTransport.ts"

export class FakePeer implements Peer {
  readonly address = "unknown"
  readonly ended = Effect.void
  readonly outbox: Outbox
  readonly member: string
  codec: Codec = textCodec
  executes = true
  lease: Lease | undefined = undefined
  absent = false
  leaving = false
  lastRankSent = NO_RANK
  lastDelivery: PendingDelivery | undefined = undefined
  disconnected: CloseCause | undefined = undefined
  /** The pieces that its socket got since `lines` was last called, as they were handed to it. */
  readonly chunks: Array<Uint8Array> = []
  readonly #transport = memoryTransport()

  constructor(member: string, flushQueue: FlushQueue, maxPending: number) {
    this.member = member
    const { transport } = this.#transport
    this.outbox = new Outbox(
      {
        flushQueue,
        stats: { bytesSent: 0 },
        total: new ServerTotal(Number.POSITIVE_INFINITY, () => {}),
        maxPending,
        maxHold: Duration.millis(500),
        stallTimeout: Duration.seconds(10),
        now: () => 0,
        fork: Effect.runFork
      },
      {
        ...transport,
        write: (chunks) => {
          this.chunks.push(...chunks)
          return transport.write(chunks)
        }
      },
      (cause) => this.disconnect(cause)
    )
  }

  send(message: Parameters<Peer["send"]>[0]): boolean {
    return this.outbox.appendLine(this.codec.encodeServer(message))
  }

  disconnect(cause: CloseCause): void {
    this.disconnected ??= cause
  }

  /** Makes it congested until `lines` is called; the filler is one of the lines then. `maxPending` has to be small. */
  congest(): void {
    while (!this.outbox.congested) this.outbox.appendLine("filler")
  }

  /** The lines that the peer received since the last call. */
  lines(): ReadonlyArray<string> {
    this.outbox.flush()
    this.chunks.length = 0
    return this.#transport.written.splice(0).join("").split("\n").slice(0, -1)
  }
}

export const fakePeer = (member = "m1", flushQueue = new FlushQueue(), maxPending = 1_000_000): FakePeer =>
  new FakePeer(member, flushQueue, maxPending)
