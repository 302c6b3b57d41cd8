/** `N` values of one type: a tuple up to 16, so that each can be destructured; an array beyond. */
export type Tuple<A, N extends number, T extends ReadonlyArray<A> = []> = number extends N
  ? Array<A>
  : T["length"] extends N
    ? T
    : T["length"] extends 16
      ? [...T, ...Array<A>]
      : Tuple<A, N, [...T, A]>
