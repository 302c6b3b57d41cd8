/** Certificates made for a test, with the `openssl` command. */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"

/** A certificate and its key: as paths of files, and what they hold. */
export interface Issued {
  readonly certPath: string
  readonly keyPath: string
  readonly cert: string
  readonly key: string
}

export class Certificates {
  readonly folder = mkdtempSync(join(tmpdir(), "rankd-tls-"))

  /** Signs itself. */
  authority(name: string): Issued {
    return this.#issue(name, name, "basicConstraints = critical, CA:TRUE", [])
  }

  /** `altNames` are as `DNS = worker`; in its subject it is called `commonName`. */
  issue(name: string, by: Issued, altNames: ReadonlyArray<string>, commonName = name): Issued {
    const names = altNames.map((altName, index) => altName.replace(" =", `.${index} =`))
    const extensions = altNames.length === 0 ? "basicConstraints = CA:FALSE" : "subjectAltName = @names"
    return this.#issue(name, commonName, `${extensions}\n[ names ]\n${names.join("\n")}`, [
      "-CA",
      by.certPath,
      "-CAkey",
      by.keyPath
    ])
  }

  #issue(name: string, commonName: string, extensions: string, signing: ReadonlyArray<string>): Issued {
    const [config, certPath, keyPath] = [`${name}.conf`, `${name}.pem`, `${name}.key`].map((file) =>
      join(this.folder, file)
    ) as [string, string, string]
    writeFileSync(config, `[ req ]\ndistinguished_name = dn\n[ dn ]\n[ extensions ]\n${extensions}\n`)
    const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", keyPath]
    execFileSync(
      "openssl",
      ["req", "-x509", "-days", "2", "-config", config, "-extensions", "extensions", "-subj", `/CN=${commonName}`]
        .concat(key, "-out", certPath)
        .concat(signing),
      { stdio: "pipe" }
    )
    return { certPath, keyPath, cert: readFileSync(certPath, "utf8"), key: readFileSync(keyPath, "utf8") }
  }
}

/** They are deleted when the scope closes. */
export const certificates = Effect.acquireRelease(
  Effect.sync(() => new Certificates()),
  ({ folder }) => Effect.sync(() => rmSync(folder, { recursive: true }))
)

/** What a server of this machine needs to be known by. */
export const LOCAL = ["DNS = localhost", "IP = 127.0.0.1"]
