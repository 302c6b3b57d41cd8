/**
 * A sparse, persistent sequence: values under whole-number keys. Each subtree knows how
 * many values it contains, so that one walk from the root answers "how many keys are
 * smaller?" and "which value has n before it?".
 *
 * It owns the shape of the tree, and does not know what the keys mean. A node never
 * changes once it is built, so an old version stays valid. `set` and `remove` copy the
 * nodes on the path from the root. A node has 32 slots, so the path has 4 levels for a
 * million keys, and 6 for a billion.
 */

/** Slots in a node. 32 keeps a path short, and a copied node within a few cache lines. */
const WIDTH = 32

interface Node<A> {
  /** Values in this subtree. */
  readonly count: number
  /** Values in a leaf (height 0), subtrees above; empty slots are undefined. */
  readonly slots: ReadonlyArray<A | Node<A> | undefined>
}

export interface CountedTrie<A> {
  /** Levels above the leaves: the trie has room for the keys below 32^(height + 1). */
  readonly height: number
  readonly root: Node<A>
}

const emptyNode: Node<never> = { count: 0, slots: new Array(WIDTH).fill(undefined) }

export const empty: CountedTrie<never> = { height: 0, root: emptyNode }

export const size = (self: CountedTrie<unknown>): number => self.root.count

// Arithmetic, not bit operations: keys grow past 2^31.
const slotOf = (key: number, height: number): number => Math.floor(key / WIDTH ** height) % WIDTH

const fits = (self: CountedTrie<unknown>, key: number): boolean => key < WIDTH ** (self.height + 1)

export const get = <A>(self: CountedTrie<A>, key: number): A | undefined => {
  if (!fits(self, key)) return undefined
  let node: Node<A> | undefined = self.root
  for (let height = self.height; height > 0; height--) {
    node = node.slots[slotOf(key, height)] as Node<A> | undefined
    if (node === undefined) return undefined
  }
  return node.slots[key % WIDTH] as A | undefined
}

/** The trie with `value` under `key`, a whole number below 2^53; it replaces the value that was there. */
export const set = <A>(self: CountedTrie<A>, key: number, value: A): CountedTrie<A> => {
  let { height, root } = self
  while (key >= WIDTH ** (height + 1)) {
    root = root.count === 0 ? root : withSlot(emptyNode as Node<A>, 0, root, root.count)
    height++
  }
  return { height, root: setIn(root, height, key, value) }
}

/** The trie without `key`; the same trie if it has no such key. */
export const remove = <A>(self: CountedTrie<A>, key: number): CountedTrie<A> => {
  if (get(self, key) === undefined) return self
  const root = removeIn(self.root, self.height, key)
  return root === undefined ? empty : { height: self.height, root }
}

/** The number of keys that are smaller than `key`. */
export const countBelow = (self: CountedTrie<unknown>, key: number): number => {
  if (!fits(self, key)) return self.root.count
  let node: Node<unknown> = self.root
  let below = 0
  for (let height = self.height; height > 0; height--) {
    const slot = slotOf(key, height)
    for (let i = 0; i < slot; i++) below += (node.slots[i] as Node<unknown> | undefined)?.count ?? 0
    const next = node.slots[slot] as Node<unknown> | undefined
    if (next === undefined) return below
    node = next
  }
  for (let i = 0; i < key % WIDTH; i++) if (node.slots[i] !== undefined) below++
  return below
}

/** The value with `position` values before it, in the order of their keys. */
export const at = <A>(self: CountedTrie<A>, position: number): A | undefined => {
  if (!(position >= 0 && position < self.root.count)) return undefined
  let node: Node<A> = self.root
  let left = position
  for (let height = self.height; height > 0; height--) {
    let i = 0
    for (;;) {
      const child = node.slots[i++] as Node<A> | undefined
      if (child === undefined) continue
      if (left < child.count) {
        node = child
        break
      }
      left -= child.count
    }
  }
  for (const value of node.slots as ReadonlyArray<A | undefined>) {
    if (value !== undefined && left-- === 0) return value
  }
  return undefined
}

const withSlot = <A>(node: Node<A>, slot: number, value: A | Node<A> | undefined, count: number): Node<A> => {
  const slots = node.slots.slice()
  slots[slot] = value
  return { count, slots }
}

const setIn = <A>(node: Node<A>, height: number, key: number, value: A): Node<A> => {
  if (height === 0) {
    const slot = key % WIDTH
    return withSlot(node, slot, value, node.count + (node.slots[slot] === undefined ? 1 : 0))
  }
  const slot = slotOf(key, height)
  const old = (node.slots[slot] ?? emptyNode) as Node<A>
  const child = setIn(old, height - 1, key, value)
  return withSlot(node, slot, child, node.count - old.count + child.count)
}

/** Drops a subtree that is empty now, so that old keys use no memory. */
const removeIn = <A>(node: Node<A>, height: number, key: number): Node<A> | undefined => {
  if (node.count === 1) return undefined
  const slot = slotOf(key, height)
  const child = height === 0 ? undefined : removeIn(node.slots[slot] as Node<A>, height - 1, key)
  return withSlot(node, slot, child, node.count - 1)
}
