/**
 * The outboxes that have bytes to flush. It owns one half of the contract of appending:
 * code that appends to other clients' outboxes does so synchronously, in a batch, and calls
 * `flush` once at the end of the batch. So a batch costs each client one write, however many
 * lines it gets. `wakeLater` is the other half.
 */

export interface Flushable {
  flush(): void
}

export class FlushQueue {
  readonly #waiting: Array<Flushable> = []

  /** Adds `flushable`, which must not be in the queue yet: it remembers that until its `flush` is called. */
  add(flushable: Flushable): void {
    this.#waiting.push(flushable)
  }

  /** Flushes each once. Those that are added meanwhile wait for the next flush. */
  flush(): void {
    for (const flushable of this.#waiting.splice(0)) flushable.flush()
  }
}
