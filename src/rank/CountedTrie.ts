/**
 * A sparse, persistent sequence: values under whole-number keys, each subtree
 * knowing how many values it holds. It answers "how many keys are smaller?" and
 * "which value has n before it?" in one walk from the root.
 *
 * It owns the shape of the tree and nothing else; what the keys mean is the
 * caller's. Nodes are never changed once built, so an old version stays valid
 * while a new one is made: `set` and `remove` copy the path from the root (a
 * node has 32 places), that is log32 of the largest key: 4 levels for a million,
 * 6 for a billion.
 */

/** Places in a node. 32 keeps a path short and a copied node within a few cache lines. */
const WIDTH = 32

interface Node<A> {
  /** Values in this subtree. */
  readonly count: number
  /** Values in a leaf (height 0), subtrees above; empty places are undefined. */
  readonly places: ReadonlyArray<A | Node<A> | undefined>
}

export interface CountedTrie<A> {
  /** Levels above the leaves: the trie has room for the keys below 32^(height + 1). */
  readonly height: number
  readonly root: Node<A>
}

const emptyNode: Node<never> = { count: 0, places: new Array(WIDTH).fill(undefined) }

export const empty: CountedTrie<never> = { height: 0, root: emptyNode }

export const size = (self: CountedTrie<unknown>): number => self.root.count

// Arithmetic and not bit operations: keys grow past 2^31.
const placeOf = (key: number, height: number): number => Math.floor(key / WIDTH ** height) % WIDTH

const fits = (self: CountedTrie<unknown>, key: number): boolean => key < WIDTH ** (self.height + 1)

export const get = <A>(self: CountedTrie<A>, key: number): A | undefined => {
  if (!fits(self, key)) return undefined
  let node: Node<A> | undefined = self.root
  for (let height = self.height; height > 0; height--) {
    node = node.places[placeOf(key, height)] as Node<A> | undefined
    if (node === undefined) return undefined
  }
  return node.places[key % WIDTH] as A | undefined
}

/** Puts `value` under `key` (a whole number below 2^53), in place of what was there. */
export const set = <A>(self: CountedTrie<A>, key: number, value: A): CountedTrie<A> => {
  let { height, root } = self
  while (key >= WIDTH ** (height + 1)) {
    root = root.count === 0 ? root : withPlace(emptyNode as Node<A>, 0, root, root.count)
    height++
  }
  return { height, root: setIn(root, height, key, value) }
}

/** The trie without `key`; itself where there is no such key. */
export const remove = <A>(self: CountedTrie<A>, key: number): CountedTrie<A> => {
  if (get(self, key) === undefined) return self
  const root = removeIn(self.root, self.height, key)
  return root === undefined ? empty : { height: self.height, root }
}

/** How many keys are smaller than `key`. */
export const countBelow = (self: CountedTrie<unknown>, key: number): number => {
  if (!fits(self, key)) return self.root.count
  let node: Node<unknown> = self.root
  let below = 0
  for (let height = self.height; height > 0; height--) {
    const place = placeOf(key, height)
    for (let i = 0; i < place; i++) below += (node.places[i] as Node<unknown> | undefined)?.count ?? 0
    const next = node.places[place] as Node<unknown> | undefined
    if (next === undefined) return below
    node = next
  }
  for (let i = 0; i < key % WIDTH; i++) if (node.places[i] !== undefined) below++
  return below
}

/** The value that has `position` others before it, in the order of their keys. */
export const at = <A>(self: CountedTrie<A>, position: number): A | undefined => {
  if (!(position >= 0 && position < self.root.count)) return undefined
  let node: Node<A> = self.root
  let left = position
  for (let height = self.height; height > 0; height--) {
    let i = 0
    for (;;) {
      const child = node.places[i++] as Node<A> | undefined
      if (child === undefined) continue
      if (left < child.count) {
        node = child
        break
      }
      left -= child.count
    }
  }
  for (const value of node.places as ReadonlyArray<A | undefined>) {
    if (value !== undefined && left-- === 0) return value
  }
  return undefined
}

const withPlace = <A>(node: Node<A>, place: number, value: A | Node<A> | undefined, count: number): Node<A> => {
  const places = node.places.slice()
  places[place] = value
  return { count, places }
}

const setIn = <A>(node: Node<A>, height: number, key: number, value: A): Node<A> => {
  if (height === 0) {
    const place = key % WIDTH
    return withPlace(node, place, value, node.count + (node.places[place] === undefined ? 1 : 0))
  }
  const place = placeOf(key, height)
  const old = (node.places[place] ?? emptyNode) as Node<A>
  const child = setIn(old, height - 1, key, value)
  return withPlace(node, place, child, node.count - old.count + child.count)
}

/** Drops a subtree that became empty, so that keys of long ago cost nothing. */
const removeIn = <A>(node: Node<A>, height: number, key: number): Node<A> | undefined => {
  if (node.count === 1) return undefined
  const place = placeOf(key, height)
  const child = height === 0 ? undefined : removeIn(node.places[place] as Node<A>, height - 1, key)
  return withPlace(node, place, child, node.count - 1)
}
