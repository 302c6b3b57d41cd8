/**
 * The epochs of a group: a hybrid logical clock, in microseconds. It also learns from the
 * epochs that clients know, because a server that restarts has no other memory of them, and
 * its wall clock may be behind.
 *
 * Invariant: an epoch is larger than the one before it, and than one that a client knows, if
 * that is at most `MAX_AHEAD` ahead of the wall clock. So a client can push the epochs of its
 * group that far, and no further.
 *
 * In milliseconds, a thousand clients that connect at once would push it ahead of the wall
 * clock, and a server that restarts within the same second would begin with a smaller one.
 * Kulkarni et al., "Logical Physical Clocks", 2014.
 */

/**
 * A day, in microseconds: a clock that has the wrong time zone, or was set by hand, is off by less. Without a bound, one
 * client could use up all numbers below 2^53.
 */
const MAX_AHEAD = 24 * 60 * 60 * 1_000_000

/** The epoch of the next change: at least one more than before, and never behind the wall clock. */
export const next = (last: number, now: number): number => Math.max(last + 1, now)

/** The smallest epoch above `known`, if that is not too far ahead of the wall clock; else 0. */
export const above = (known: number, now: number): number => (known <= now + MAX_AHEAD ? known + 1 : 0)
