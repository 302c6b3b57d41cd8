/** Whether the terminal understands escape sequences. One that nobody has named is treated as a dumb one. */
export const hasEscapes: boolean = !["", "dumb"].includes(process.env.TERM ?? "")
