/** Why the server cannot start, and what to do about it. */
import { Runtime, Schema } from "effect"
import type { SocketServer } from "effect/socket"
import { TlsError } from "../../net/node/NodeServer.ts"
import { hostInUrl } from "../../net/Subnet.ts"
import type { Source } from "../flags/kinds.ts"

/** `message` says what to do. */
export class StartError extends Schema.TaggedError<StartError>()("StartError", { message: Schema.String }) {
  /** EX_UNAVAILABLE of sysexits.h. */
  override readonly [Runtime.errorExitCode] = 69
  override readonly [Runtime.errorReported] = false
}

/** Which file to name with a flag of TLS. */
export const tlsAdvice: { readonly [option in TlsError["option"]]: string } = {
  cert: "Name the PEM file of a certificate, and of those between it and its CA",
  key: "Name the PEM file of the private key that the certificate was made for",
  ca: "Name the PEM file of the CA that signs the certificates of clients"
}

interface Address {
  readonly host: string
  readonly port: number
}

/** Why the server does not listen at this address. */
export const startError =
  ({ host, port }: Address, variables: ReadonlyMap<string, Source> = new Map()) =>
  ({ reason }: SocketServer.SocketServerError): StartError => {
    const { cause } = reason
    if (cause instanceof TlsError) {
      const { detail, option } = cause
      const flag = variables.get(`tls-${option}`)?.name ?? `--tls-${option}`
      return new StartError({ message: `cannot speak TLS: ${flag}: ${detail}. ${tlsAdvice[option]}` })
    }
    const given = variables.get("host")?.withValue ?? host
    const { code, message } = cause as NodeJS.ErrnoException
    const advice: Record<string, string> = {
      EADDRINUSE: `port ${port} is in use. Stop the program that uses it, or choose another port with --port (0: any free port)`,
      EACCES: `only privileged users may use port ${port}. Choose one above 1023 with --port`,
      EADDRNOTAVAIL: `${given} is not an address of this machine. Choose one that is with --host, or 0.0.0.0 for all`,
      ENOTFOUND: `${given} does not resolve. Give a name that does, or an address, with --host`,
      EAI_AGAIN: `the name service cannot resolve ${given} now. Try again, or give an address with --host`
    }
    return new StartError({ message: `cannot listen on ${hostInUrl(host)}:${port}: ${advice[code ?? ""] ?? message}` })
  }
