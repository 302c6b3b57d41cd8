/**
 * The open deliveries, by id and by target. The deliveries themselves are the nodes of its
 * linked lists: hundreds of thousands open and end in a second, and a `Map` and a `Set` would
 * be most of the garbage collector's work.
 */
import type { Delivery } from "./Command.ts"

/** The smallest number of buckets: a power of two. */
const MIN_BUCKETS = 1024

/** A hash table. Ids are consecutive numbers, so they spread evenly. */
export class DeliveryTable {
  size = 0
  #buckets: Array<Delivery | undefined> = new Array(MIN_BUCKETS).fill(undefined)

  get(id: number): Delivery | undefined {
    let delivery = this.#buckets[this.#bucketOf(id)]
    while (delivery !== undefined && delivery.id !== id) delivery = delivery.next
    return delivery
  }

  add(delivery: Delivery): void {
    if (this.size === this.#buckets.length) this.#resize(2 * this.size)
    this.#link(delivery)
    this.size++
    const { target } = delivery
    delivery.earlier = target.lastDelivery
    if (target.lastDelivery !== undefined) target.lastDelivery.later = delivery
    target.lastDelivery = delivery
  }

  /** Removes a delivery that is in the table. */
  delete(delivery: Delivery): void {
    const bucket = this.#bucketOf(delivery.id)
    let before = this.#buckets[bucket]
    if (before === delivery) {
      this.#buckets[bucket] = delivery.next
    } else {
      while (before !== undefined && before.next !== delivery) before = before.next
      if (before !== undefined) before.next = delivery.next
    }
    delivery.next = undefined
    this.size--
    const { earlier, later, target } = delivery
    if (earlier !== undefined) earlier.later = later
    if (later !== undefined) later.earlier = earlier
    else target.lastDelivery = earlier
    delivery.earlier = undefined
    delivery.later = undefined
    if (this.size < this.#buckets.length / 8 && this.#buckets.length > MIN_BUCKETS) {
      this.#resize(this.#buckets.length / 2)
    }
  }

  /** The deliveries that are open now. */
  list(): Array<Delivery> {
    const all: Array<Delivery> = []
    for (let delivery of this.#buckets) for (; delivery !== undefined; delivery = delivery.next) all.push(delivery)
    return all
  }

  #bucketOf(id: number): number {
    // For a number beyond 2^32, these are its lower bits.
    return id & (this.#buckets.length - 1)
  }

  #link(delivery: Delivery): void {
    const bucket = this.#bucketOf(delivery.id)
    delivery.next = this.#buckets[bucket]
    this.#buckets[bucket] = delivery
  }

  #resize(buckets: number): void {
    const all = this.list()
    this.#buckets = new Array(buckets).fill(undefined)
    for (const delivery of all) this.#link(delivery)
  }
}
