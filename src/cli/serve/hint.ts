/** How to try the server that has just started: the line that a person at a terminal sees. */
import { Option } from "effect"
import { hostInUrl } from "../../net/Subnet.ts"
import type { Options } from "./flags.ts"

/** An address to connect to, where the server listens on all. */
const reachable = (host: string) => (host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "::1" : host)

type Protection = Pick<Options, "tlsCa" | "tlsCert" | "tokenFile">

const client = ({ tlsCa, tlsCert }: Protection, host: string, port: number): string => {
  if (Option.isNone(tlsCert)) return `nc ${host} ${port}`
  if (Option.isNone(tlsCa)) return `openssl s_client -quiet -connect ${hostInUrl(host)}:${port}`
  return `rankd connect --host ${host} --port ${port} --ca <file> --cert <file> --key <file>`
}

/** `host` and `port` are where the server listens. */
export const hint = (options: Protection, host: string, port: number): string => {
  const first = Option.isNone(options.tokenFile) ? "HELP" : "AUTH and a token"
  return `Try it: ${client(options, reachable(host), port)} in two terminals, then type ${first}. Stop with Ctrl-C`
}
