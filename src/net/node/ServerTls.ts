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

/** A file cannot be used. `option` is the one of `TlsOptions` that names it. */
export class TlsError extends Schema.TaggedError<TlsError>()("TlsError", {
  option: Schema.Literals(["cert", "key", "ca"]),
  path: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `tls ${this.option} ${this.path}: ${this.detail}`
  }
}

const unreadable = ({ code, message }: NodeJS.ErrnoException): string =>
  ({ ENOENT: "no such file", EACCES: "no permission to read it", EISDIR: "it is a folder" })[code ?? ""] ?? message

/** The contents of the files. Each is tried by itself, so that the error names the right one. */
const read = Effect.fnUntraced(function* (options: TlsOptions) {
  const attempt = <A>(option: TlsError["option"], detail: string | ((cause: Error) => string), get: () => A) =>
    Effect.try({
      try: get,
      catch: (cause) =>
        new TlsError({
          option,
          path: options[option] ?? "",
          detail: typeof detail === "string" ? detail : detail(cause as Error)
        })
    })
  const file = (option: TlsError["option"], path: string) =>
    Effect.tryPromise({
      try: () => readFile(path),
      catch: (cause) => new TlsError({ option, path, detail: unreadable(cause as NodeJS.ErrnoException) })
    })
  const [cert, key] = [yield* file("cert", options.cert), yield* file("key", options.key)]
  const ca = options.ca === undefined ? undefined : yield* file("ca", options.ca)
  const certificate = yield* attempt("cert", "it is not a certificate in PEM", () => new X509Certificate(cert))
  const privateKey = yield* attempt("key", "it is not a private key in PEM without a passphrase", () =>
    createPrivateKey(key)
  )
  if (!certificate.checkPrivateKey(privateKey)) {
    return yield* new TlsError({ option: "key", path: options.key, detail: `it does not belong to ${options.cert}` })
  }
  if (ca !== undefined) yield* attempt("ca", "it is not a certificate in PEM", () => new X509Certificate(ca))
  const secure = { cert, key, ca, minVersion: options.minVersion ?? ("TLSv1.3" as const) }
  yield* attempt(
    "cert",
    ({ message }) => message,
    () => Tls.createSecureContext(secure)
  )
  return secure
})

/** Logs the first of a series at once, then at most one line an interval with how many there were. */
const reporter = Effect.fnUntraced(function* (report: Effect.Effect<void>) {
  const some = Latch.makeUnsafe(false)
  let count = 0
  let last: Record<string, unknown> = {}
  yield* Effect.gen(function* () {
    yield* some.await
    some.closeUnsafe()
    const said = { ...last, count }
    count = 0
    yield* Effect.annotateLogs(report, said)
    yield* Effect.sleep(REPORT_INTERVAL)
  }).pipe(Effect.forever, Effect.forkScoped)
  return (detail: typeof last) => {
    count++
    last = detail
    some.openUnsafe()
  }
})

const addressOf = ({ remoteAddress, remotePort }: Net.Socket): string =>
  `${hostInUrl(remoteAddress ?? "unknown")}:${remotePort ?? 0}`

/** Connections with unfinished handshakes, by address, in order of arrival. */
class Pending {
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

  /** The oldest of the subnet that has the most: most likely not a client that only wants to connect. */
  takeOldest(): Net.Socket | undefined {
    const counts = new Map<string, number>()
    for (const address of this.#sockets.keys()) {
      const network = subnetOf(address)
      counts.set(network, (counts.get(network) ?? 0) + 1)
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

  /** Effect does not expose the server; Node announces it before it listens. The file's bytes tell it from others. */
  const found = (message: unknown) => {
    const told = message as { readonly server: Tls.Server; readonly options: Partial<typeof secure> }
    if (told.options.cert !== secure.cert) return
    server = told.server
    const pending = new Pending()
    server.on("connection", (socket: Net.Socket) => {
      const address = addressOf(socket)
      pending.add(address, socket)
      socket.on("close", () => pending.delete(address))
      const last = pending.size > maxHandshakes ? pending.takeOldest() : undefined
      if (last === undefined) return
      dropped({ address: addressOf(last) })
      last.destroy()
    })
    server.on("secureConnection", (socket) => {
      pending.delete(addressOf(socket))
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
  if (listening === undefined) return yield* Effect.die(new Error(`Node did not tell of the server on ${channel}`))
  // No session serves a client whose handshake ends while the server closes: the server would wait for it for ever.
  yield* Effect.addFinalizer(() => Effect.sync(() => listening.on("secureConnection", (socket) => socket.destroy())))
  return { socketServer, reload: Effect.map(read(options), (secure) => listening.setSecureContext(secure)) }
})
