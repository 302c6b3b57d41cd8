/**
 * Why a session ended: a name for each cause, finer than the words that the client
 * and the watchers get. What these words are is in `session/closings`.
 */

/** The client does not read fast enough. */
export type SlowConsumerCause =
  /** More bytes waited for it than `--max-pending`. */
  | "pending bytes"
  /** One write waited for longer than `--stall-timeout`. */
  | "write deadline"
  /** More bytes waited for all clients together than `--max-total-pending`, and most of them for this one. */
  | "server total"
  /** It had shown no token yet, and did not read the answers. */
  | "unauthenticated"

/** The client showed a token, and the server did not take it. */
export type AuthFailure =
  | "wrong token"
  /** The token is for another name than the client's certificate. */
  | "token for another name"
  /** The client was closed, as one of too many, before its token was checked. */
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

export type CloseCause =
  | SlowConsumerCause
  | RefusalCause
  /** The client said `QUIT`. */
  | "quit"
  /** The client closed the connection. */
  | "closed"
  /** The connection broke. */
  | "reset"
  /** The client missed its heartbeats. */
  | "heartbeat"
  | "line too long"
  /** The first line of the client looks like HTTP. */
  | "http"
  /** The client's token was removed, or allows something else now. */
  | "token revoked"
  /** Another connection showed the client's resume token. */
  | "resumed elsewhere"
  | "shutting down"
  /** The server failed while it served this client. */
  | "internal error"
