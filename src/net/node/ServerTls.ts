/**
 * TLS for the server: its files, read at the start and again on request, and the bound
 * on unfinished handshakes. Effect's socket server does the rest.
 */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { subscribe, unsubscribe } from "node:diagnostics_channel"
import { readFile } from "node:fs/promises"
import type * as Net from "node:net"
import * as Tls from "node:tls"
import * as NodeSocketServer from "@effect/platform-node/NodeSocketServer"
import { Duration, Effect, Latch, Schema } from "effect"
import { hostInUrl, subnetOf } from "../Subnet.ts"

/** TLS for a server. Paths are relative to the working directory. */
export interface TlsOptions {
  /** Path of a PEM file with the server's certificate, and those between it and its CA. */
  readonly cert: string
  /** Path of a PEM file with the certificate's private key, without a passphrase. */
  readonly key: string
  /** Path of a PEM file with the CAs that sign clients' certificates. Without it, clients need no certificate. */
  readonly ca?: string | undefined
  /** The oldest version that the server accepts; `TLSv1.3` by default. */
  readonly minVersion?: Tls.SecureVersion | undefined
  /** How long a handshake may take; `HANDSHAKE_TIMEOUT` by default. */
  readonly handshakeTimeout?: Duration.Duration | undefined
  /** The most unfinished handshakes. Beyond it, the oldest from the busiest subnet is cut off. `MAX_HANDSHAKES` by default. */
  readonly maxHandshakes?: number | undefined
}

/** A handshake takes two round trips and some milliseconds; Node's own limit is two minutes. */
export const HANDSHAKE_TIMEOUT = Duration.seconds(2)

/** More than arrive at once when a server restarts, and little memory if they all stall. */
export const MAX_HANDSHAKES = 256

/** The least time between two log lines about failed handshakes. */
const REPORT_INTERVAL = "5 seconds"

/** A file cannot be used. `option` is the one of `TlsOptions` that names it; `detail` names the file, and says why. */
export class TlsError extends Schema.TaggedError<TlsError>()("TlsError", {
  option: Schema.Literals(["cert", "key", "ca"]),
  path: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `tls ${this.option}: ${this.detail}`
  }
}

const unreadable = (path: string, { code, message }: NodeJS.ErrnoException): string => {
  if (code === "ENOENT") return `no such file: ${path}`
  if (code === "EACCES") return `no permission to read ${path}`
  return code === "EISDIR" ? `${path} is a folder` : `${path}: ${message}`
}

/** The contents of the files. Each is tried by itself, so that the error names the right one. */
const read = Effect.fnUntraced(function* (options: TlsOptions) {
  const attempt = <A>(option: TlsError["option"], get: () => A, why: (cause: Error) => string) =>
    Effect.try({
      try: get,
      catch: (cause) => {
        const path = options[option] ?? ""
        return new TlsError({ option, path, detail: `${path} ${why(cause as Error)}` })
      }
    })
  const file = (option: TlsError["option"], path: string) =>
    Effect.tryPromise({
      try: () => readFile(path),
      catch: (cause) => new TlsError({ option, path, detail: unreadable(path, cause as NodeJS.ErrnoException) })
    })
  const [cert, key] = [yield* file("cert", options.cert), yield* file("key", options.key)]
  const ca = options.ca === undefined ? undefined : yield* file("ca", options.ca)
  const noCertificate = () => "is not a certificate in PEM"
  const noPrivateKey = () => "is not a private key in PEM without a passphrase"
  const certificate = yield* attempt("cert", () => new X509Certificate(cert), noCertificate)
  const privateKey = yield* attempt("key", () => createPrivateKey(key), noPrivateKey)
  if (!certificate.checkPrivateKey(privateKey)) {
    const detail = `${options.key} does not belong to ${options.cert}`
    return yield* new TlsError({ option: "key", path: options.key, detail })
  }
  if (ca !== undefined) yield* attempt("ca", () => new X509Certificate(ca), noCertificate)
  const secure = { cert, key, ca, minVersion: options.minVersion ?? ("TLSv1.3" as const) }
  const refusedBy = ({ message }: Error) => `cannot be used: ${message}`
  yield* attempt("cert", () => Tls.createSecureContext(secure), refusedBy)
  return secure
})

/** Logs the first event at once, and then at most one line per interval, with the number of events. */
const reporter = Effect.fnUntraced(function* (report: Effect.Effect<void>) {
  const happened = Latch.makeUnsafe(false)
  let count = 0
  let last: Record<string, unknown> = {}
  yield* Effect.gen(function* () {
    yield* happened.await
    happened.closeUnsafe()
    const fields = { ...last, count }
    count = 0
    yield* Effect.annotateLogs(report, fields)
    yield* Effect.sleep(REPORT_INTERVAL)
  }).pipe(Effect.forever, Effect.forkScoped)
  return (detail: typeof last) => {
    count++
    last = detail
    happened.openUnsafe()
  }
})

const addressOf = ({ remoteAddress, remotePort }: Net.Socket): string =>
  `${hostInUrl(remoteAddress ?? "unknown")}:${remotePort ?? 0}`

/** Connections with unfinished handshakes, by address, in order of arrival. */
class Handshakes {
  readonly #sockets = new Map<string, Net.Socket>()

  get size(): number {
    return this.#sockets.size
  }

  add(address: string, socket: Net.Socket): void {
    this.#sockets.set(address, socket)
  }

  delete(address: string): void {
    this.#sockets.delete(address)
  }

  /** Removes the oldest connection of the busiest subnet: the most likely attacker. */
  takeOldest(): Net.Socket | undefined {
    const counts = new Map<string, number>()
    for (const address of this.#sockets.keys()) {
      const subnet = subnetOf(address)
      counts.set(subnet, (counts.get(subnet) ?? 0) + 1)
    }
    const most = Math.max(...counts.values())
    for (const [address, socket] of this.#sockets) {
      if (counts.get(subnetOf(address)) !== most) continue
      this.#sockets.delete(address)
      return socket
    }
    return undefined
  }
}

/**
 * A `SocketServer` whose clients have finished their handshake, and the effect that reads
 * the files again. New connections use the new files; others notice nothing. If a file
 * cannot be used, nothing changes.
 */
export const make = Effect.fnUntraced(function* (options: TlsOptions, listen: Net.ServerOpts & Net.ListenOptions) {
  const secure = yield* read(options)
  const { maxHandshakes = MAX_HANDSHAKES, handshakeTimeout = HANDSHAKE_TIMEOUT } = options
  const failed = yield* reporter(Effect.logInfo("TLS handshake failed"))
  const dropped = yield* reporter(Effect.logWarning("too many TLS handshakes under way; see --max-handshakes"))
  let server: Tls.Server | undefined

  /** Effect does not expose Node's server. Node publishes it before it listens; the buffer of the certificate identifies it. */
  const found = (message: unknown) => {
    const published = message as { readonly server: Tls.Server; readonly options: Partial<typeof secure> }
    if (published.options.cert !== secure.cert) return
    server = published.server
    const handshakes = new Handshakes()
    server.on("connection", (socket: Net.Socket) => {
      const address = addressOf(socket)
      handshakes.add(address, socket)
      socket.on("close", () => handshakes.delete(address))
      const oldest = handshakes.size > maxHandshakes ? handshakes.takeOldest() : undefined
      if (oldest === undefined) return
      dropped({ address: addressOf(oldest) })
      oldest.destroy()
    })
    server.on("secureConnection", (socket) => {
      handshakes.delete(addressOf(socket))
      // Not before: a client that disconnects in its handshake would count until the timeout.
      socket.allowHalfOpen = listen.allowHalfOpen ?? false
    })
    server.on("tlsClientError", (error: NodeJS.ErrnoException, { authorizationError, remoteAddress }) =>
      failed({
        reason: authorizationError ?? error.code ?? error.message,
        // Node forgets the address of a closed connection.
        ...(remoteAddress === undefined ? {} : { address: remoteAddress })
      })
    )
  }
  const channel = "tracing:net.server.listen:asyncStart"
  const socketServer = yield* Effect.acquireUseRelease(
    Effect.sync(() => subscribe(channel, found)),
    () =>
      NodeSocketServer.makeTls({
        ...listen,
        ...secure,
        allowHalfOpen: false,
        handshakeTimeout: Duration.toMillis(handshakeTimeout),
        requestCert: secure.ca !== undefined,
        rejectUnauthorized: secure.ca !== undefined
      }),
    () => Effect.sync(() => unsubscribe(channel, found))
  )
  const listening = server
  if (listening === undefined) return yield* Effect.die(new Error(`Node did not publish the server on ${channel}`))
  // No session serves a client whose handshake ends while the server closes: the server would wait for it for ever.
  yield* Effect.addFinalizer(() => Effect.sync(() => listening.on("secureConnection", (socket) => socket.destroy())))
  return { socketServer, reload: Effect.map(read(options), (secure) => listening.setSecureContext(secure)) }
})
