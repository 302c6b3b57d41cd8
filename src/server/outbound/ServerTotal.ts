/**
 * The number of bytes that wait for all clients of a server together, and its limit. An
 * outbox reports its changes when it is flushed, not for each line.
 */
export class ServerTotal {
  readonly #max: number
  readonly #onExceeded: () => void
  #bytes = 0

  /** @param onExceeded is called whenever the total grows and is more than `max` */
  constructor(max: number, onExceeded: () => void) {
    this.#max = max
    this.#onExceeded = onExceeded
  }

  /** Adds `change` bytes; a negative number subtracts. */
  add(change: number): void {
    this.#bytes += change
    if (change > 0 && this.#bytes > this.#max) this.#onExceeded()
  }
}
