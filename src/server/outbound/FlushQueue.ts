/**
 * What has bytes to flush. It owns one half of the contract of appending: code that
 * appends to other clients does so without an effect, in a batch, and calls `flush`
 * once when its batch is done. So each client costs one write a batch, however many
 * lines it gets. (`wakeLater` is the other half.)
 */

export interface Flushable {
  flush(): void
}

export class FlushQueue {
  readonly #waiting: Array<Flushable> = []

  /** Adds what is not in the queue yet: `flushable` keeps a mark until its `flush` is called. */
  add(flushable: Flushable): void {
    this.#waiting.push(flushable)
  }

  /** Flushes each once. What a flush adds waits for the next one. */
  flush(): void {
    for (const flushable of this.#waiting.splice(0)) flushable.flush()
  }
}
