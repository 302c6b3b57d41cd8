/**
 * The causes that end a session. Each has a name of its own, finer than the reason that the
 * client and the watchers get. `session/closings` maps causes to these reasons.
 */

/** The client does not read fast enough. */
export type SlowConsumerCause =
  /** More than `--max-pending` bytes waited for it. */
  | "pending bytes"
  /** One write waited for longer than `--stall-timeout`. */
  | "write deadline"
  /** More than `--max-total-pending` bytes waited for all clients together, and this client had the most. */
  | "server total"
  /** The client had shown no token yet, and did not read its answers. */
  | "unauthenticated"

/** The client showed a token, and the server did not accept it. */
export type AuthFailure =
  | "wrong token"
  /** The token is for another name than the client's certificate. */
  | "token for another name"
  /** The server closed the client, as one of too many, before it had checked its token. */
  | "authenticated too late"

/** The client never had a seat, and the server closes the connection. */
export type RefusalCause =
  | AuthFailure
  | "too many connections"
  | "too many connections from the address"
  | "too many unauthenticated"
  | "no name in the certificate"
  | "no token in time"
  | "no seat in time"
  | "group full"
  | "name taken"
  | "server shutting down"

/** The client speaks another protocol, so the server cuts it off without an answer. */
export type OtherProtocolCause =
  /** It sent a request, as browsers do. */
  | "http"
  /** It speaks TLS, and the server does not. */
  | "tls"
  /** It sent bytes that are no text. */
  | "not UTF-8"

/** Why a session ended. */
export type CloseCause =
  | SlowConsumerCause
  | RefusalCause
  | OtherProtocolCause
  /** The client sent `QUIT`. */
  | "quit"
  /** The client closed the connection. */
  | "closed"
  /** The connection broke. */
  | "reset"
  /** The client missed its heartbeats. */
  | "heartbeat"
  | "line too long"
  /** The operator removed or changed the client's token. */
  | "token revoked"
  /** Another connection showed the client's resume token. */
  | "resumed elsewhere"
  | "shutting down"
  /** An error in the server ended the session. */
  | "internal error"
