/** The name that a client's certificate gives it. */
import { Result, Schema } from "effect"
import type { PeerCertificate } from "../../net/Transport.ts"
import { Name } from "../../protocol/Ids.ts"

const isName = Schema.is(Name)

/**
 * One entry, as `DNS:worker`, with the `, ` that ends it. Node quotes a value that
 * holds anything strange as a JSON string, whatever is in there: a comma outside of
 * quotes ends an entry, one inside of them never does (CVE-2021-44532).
 */
const ENTRY = /([^",:]+):((?:[^",]|"(?:[^"\\]|\\.)*")*)(?:, |$)/y

const URI_PREFIX = "rankd:"

/**
 * The name in `X509Certificate.subjectAltName`, as `DNS:worker.example.com,
 * URI:rankd:worker`: that of the first entry, in the order of the certificate, that
 * is `DNS:<name>` or `URI:rankd:<name>` with a name that rankd takes (`Name`), letter
 * case included. Nothing else of the certificate counts: not its subject, no e-mail
 * address (it has an `@`, a name has none), no quoted value. Undefined where there is
 * none, and where the text is not what Node writes.
 */
export const nameIn = (subjectAltName: string): string | undefined => {
  let name: string | undefined
  for (ENTRY.lastIndex = 0; ENTRY.lastIndex < subjectAltName.length; ) {
    const [entry, kind, value = ""] = ENTRY.exec(subjectAltName) ?? []
    if (entry === undefined) return undefined
    const called =
      kind === "DNS" ? value : kind === "URI" && value.startsWith(URI_PREFIX) ? value.slice(URI_PREFIX.length) : ""
    if (isName(called)) name ??= called
  }
  return name
}

/** The name in a certificate; or why it gives none, for the operator. */
export const nameOf = ({ subjectAltName, verified }: PeerCertificate): Result.Result<string, string> => {
  if (!verified) return Result.fail("no verified certificate")
  const name = nameIn(subjectAltName ?? "")
  if (name !== undefined) return Result.succeed(name)
  return Result.fail(`no name in its certificate, whose subjectAltName is ${subjectAltName ?? "missing"}`)
}
