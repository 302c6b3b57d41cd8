/** Reads a file that a flag or a variable names. Fails with its name, the path, and why in words. */
import { getSystemErrorMessage } from "node:util"
import { Effect, FileSystem, type PlatformError } from "effect"
import { Variables } from "./rows.ts"

const inWords = ({ message, reason }: PlatformError.PlatformError): string => {
  const { errno } = (reason.cause ?? {}) as NodeJS.ErrnoException
  return errno === undefined ? message : getSystemErrorMessage(errno)
}

export const readFile = Effect.fnUntraced(function* (flag: string, path: string) {
  const { readFileString } = yield* FileSystem.FileSystem
  const given = (yield* Variables).get(flag)?.withValue ?? `--${flag} ${path}`
  return yield* Effect.mapError(readFileString(path), (error) => `${given} cannot be read: ${inWords(error)}`)
})
