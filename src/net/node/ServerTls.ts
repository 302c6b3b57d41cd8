/**
 * TLS for the server: its files, read at the start and again on request; the
 * handshakes under way, and their bound; what a client's certificate says. Effect's
 * socket server does the rest. Of `server`, only this and `NodeServer` know Node.
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
  /** Path of the server's certificate, and those between it and its CA, in PEM. */
  readonly cert: string
  /** Path of the certificate's private key, in PEM, without a passphrase. */
  readonly key: string
  /** Path of the CAs, in PEM, one of which must have signed a client's certificate. Without it, clients need none. */
  readonly ca?: string | undefined
  /** The least version that is spoken; `TLSv1.3` by default. */
  readonly minVersion?: Tls.SecureVersion | undefined
  /** How long a handshake may take; `HANDSHAKE_TIMEOUT` by default. */
  readonly handshakeTimeout?: Duration.Duration | undefined
  /** Handshakes under way at most; at one more the oldest is cut off, of the network that has the most. `MAX_HANDSHAKES` by default. */
  readonly maxHandshakes?: number | undefined
}

/** A handshake takes two round trips and some milliseconds; Node's own limit is two minutes. */
export const HANDSHAKE_TIMEOUT = Duration.seconds(2)

/** More than come at once when a server starts again, and little memory where they all stall. */
export const MAX_HANDSHAKES = 256

/** Handshakes that fail are told of so often at most, however many there are. */
const REPORT_INTERVAL = "5 seconds"

/** A file is of no use. `option` is which of `TlsOptions`. */
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
  ({ ENOENT: "there is no such file", EACCES: "it may not be read", EISDIR: "it is a folder" })[code ?? ""] ?? message

/** What the files hold; each is tried, so that what is wrong is said of the right one. */
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

/** Logs what happened, at once and then once an interval, and how often it did. */
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

/** The connections whose handshakes are under way, by their address, in the order in which they came. */
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

  /** Of the network that has the most, and so most likely nobody who only wants to connect. */
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
 * A `SocketServer` whose clients have finished their handshake, and the effect that
 * reads the files again: who connects from then on gets what they hold; who is
 * connected notices nothing. Where they are of no use, all stays as it is.
 */
export const make = Effect.fnUntraced(function* (options: TlsOptions, listen: Net.ServerOpts & Net.ListenOptions) {
  const secure = yield* read(options)
  const { maxHandshakes = MAX_HANDSHAKES, handshakeTimeout = HANDSHAKE_TIMEOUT } = options
  const failed = yield* reporter(Effect.logInfo("TLS handshake failed"))
  const dropped = yield* reporter(Effect.logWarning("too many TLS handshakes under way; see --max-handshakes"))
  let server: Tls.Server | undefined

  /** Effect keeps the server to itself; Node tells of it before it listens. The files' bytes are this server's own. */
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
      // Not before: a client that goes away in its handshake would have its place until the time is up.
      socket.allowHalfOpen = listen.allowHalfOpen ?? false
    })
    server.on("tlsClientError", (error: NodeJS.ErrnoException, { authorizationError, remoteAddress }) =>
      failed({
        reason: authorizationError ?? error.code ?? error.message,
        // Of a connection that is closed already, Node has forgotten it.
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
  // Whose handshake ends while the server closes is nobody's client: the server would wait for it for ever.
  yield* Effect.addFinalizer(() => Effect.sync(() => listening.on("secureConnection", (socket) => socket.destroy())))
  return { socketServer, reload: Effect.map(read(options), (secure) => listening.setSecureContext(secure)) }
})
