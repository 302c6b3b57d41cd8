/**
 * One target of a tracked command, and the table of all that are open. A task is
 * found by its number and by its target; both cost no memory beside the task
 * itself: hundreds of thousands come and go in a second, and a `Map` and a `Set` of
 * them are most of what the garbage collector would have to do.
 */

import type { Cancellable } from "../outbound/WriteBuffer.ts"
import type { Client } from "../Peer.ts"
import type { Command } from "./Commands.ts"

export class Task implements Cancellable {
  /** What the server calls it, towards the executor. */
  readonly id: number
  readonly command: Command
  /** The target's rank when the command was routed. */
  readonly rank: number
  readonly target: Client
  /** Whether its line was handed to the target's socket: the target may have it. If not, it never will once the task has ended. */
  sent = false
  ended = false

  /** The next one in its bucket of the table. */
  next: Task | undefined
  /** Those of the same target before it and behind it. */
  earlier: Task | undefined
  later: Task | undefined

  constructor(id: number, command: Command, rank: number, target: Client) {
    this.id = id
    this.command = command
    this.rank = rank
    this.target = target
  }

  send(): boolean {
    this.sent = !this.ended
    return this.sent
  }
}

/** A power of two. */
const MIN_BUCKETS = 1024

/** A hash table whose chains run through the tasks. Numbers are given in turn, so that they spread evenly. */
export class Tasks {
  size = 0
  #buckets: Array<Task | undefined> = new Array(MIN_BUCKETS).fill(undefined)

  get(id: number): Task | undefined {
    let task = this.#buckets[this.#bucketOf(id)]
    while (task !== undefined && task.id !== id) task = task.next
    return task
  }

  add(task: Task): void {
    if (this.size === this.#buckets.length) this.#resize(2 * this.size)
    this.#link(task)
    this.size++
    const { target } = task
    task.earlier = target.lastTask
    if (target.lastTask !== undefined) target.lastTask.later = task
    target.lastTask = task
  }

  delete(task: Task): void {
    const bucket = this.#bucketOf(task.id)
    const first = this.#buckets[bucket]!
    if (first === task) {
      this.#buckets[bucket] = task.next
    } else {
      let before = first
      while (before.next !== task) before = before.next!
      before.next = task.next
    }
    task.next = undefined
    this.size--
    const { earlier, later, target } = task
    if (earlier !== undefined) earlier.later = later
    if (later !== undefined) later.earlier = earlier
    else target.lastTask = earlier
    task.earlier = undefined
    task.later = undefined
    if (this.size < this.#buckets.length / 8 && this.#buckets.length > MIN_BUCKETS)
      this.#resize(this.#buckets.length / 2)
  }

  /** Those that are open now. */
  list(): Array<Task> {
    const all: Array<Task> = []
    for (let task of this.#buckets) for (; task !== undefined; task = task.next) all.push(task)
    return all
  }

  #bucketOf(id: number): number {
    // Of a number beyond 2^32 the lower bits.
    return id & (this.#buckets.length - 1)
  }

  #link(task: Task): void {
    const bucket = this.#bucketOf(task.id)
    task.next = this.#buckets[bucket]
    this.#buckets[bucket] = task
  }

  #resize(buckets: number): void {
    const all = this.list()
    this.#buckets = new Array(buckets).fill(undefined)
    for (const task of all) this.#link(task)
  }
}
