/**
 * The contract of all synchronous code in the server: it never resumes a fiber
 * inline. A fiber that is resumed runs at once, inside of whatever resumed it, and
 * that may be the middle of another client's batch. So every wake-up is a microtask:
 * it comes after the batch.
 */
export const wakeLater = (wake: () => void): void => queueMicrotask(wake)
