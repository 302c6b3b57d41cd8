/** The name in a client's certificate. */
import { Result, Schema } from "effect"
import type { PeerCertificate } from "../../net/Transport.ts"
import { Name } from "../../protocol/Ids.ts"

const isName = Schema.is(Name)

/**
 * One entry, such as `DNS:worker`, with the `, ` that ends it. Node writes a value with
 * special characters as a JSON string. So a comma outside of quotes ends an entry, and a
 * comma inside of quotes does not (CVE-2021-44532).
 */
const ENTRY = /([^",:]+):((?:[^",]|"(?:[^"\\]|\\.)*")*)(?:, |$)/y

const URI_PREFIX = "rankd:"

/**
 * The name in `X509Certificate.subjectAltName`, a text such as `DNS:worker.example.com,
 * URI:rankd:worker`. It is the name in the first entry of the form `DNS:<name>` or
 * `URI:rankd:<name>` that is a valid `Name`; upper and lower case differ. Nothing else in the
 * certificate counts: not the subject, no e-mail address (a name has no `@`), no quoted
 * value. Undefined if there is no name, or if Node would not write such a text.
 */
export const nameIn = (subjectAltName: string): string | undefined => {
  let name: string | undefined
  for (ENTRY.lastIndex = 0; ENTRY.lastIndex < subjectAltName.length; ) {
    const [entry, kind, value = ""] = ENTRY.exec(subjectAltName) ?? []
    if (entry === undefined) return undefined
    const candidate =
      kind === "DNS" ? value : kind === "URI" && value.startsWith(URI_PREFIX) ? value.slice(URI_PREFIX.length) : ""
    if (isName(candidate)) name ??= candidate
  }
  return name
}

/** The name in a certificate; or why it has none, for the operator. */
export const nameOf = ({ subjectAltName, verified }: PeerCertificate): Result.Result<string, string> => {
  if (!verified) return Result.fail("no verified certificate")
  const name = nameIn(subjectAltName ?? "")
  if (name !== undefined) return Result.succeed(name)
  return Result.fail(`no name in its certificate, whose subjectAltName is ${subjectAltName ?? "missing"}`)
}
