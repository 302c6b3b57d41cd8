/** Reads a file that a flag names. Fails with the flag, the path, and why in words. */
import { getSystemErrorMessage } from "node:util"
import { Effect, FileSystem, type PlatformError } from "effect"

const inWords = ({ message, reason }: PlatformError.PlatformError): string => {
  const { errno } = (reason.cause ?? {}) as NodeJS.ErrnoException
  return errno === undefined ? message : getSystemErrorMessage(errno)
}

export const readFile = (flag: string, path: string): Effect.Effect<string, string, FileSystem.FileSystem> =>
  FileSystem.FileSystem.use(({ readFileString }) =>
    Effect.mapError(readFileString(path), (error) => `--${flag} ${path} cannot be read: ${inWords(error)}`)
  )
