/**
 * Wakes fibers after the present batch. The contract of all synchronous code in the server:
 * it never resumes a fiber inline. A resumed fiber runs at once, inside the code that
 * resumed it, and that may be the middle of another client's batch. So every wake-up is a
 * microtask, which runs after the batch.
 */
export const wakeLater = (wake: () => void): void => queueMicrotask(wake)
