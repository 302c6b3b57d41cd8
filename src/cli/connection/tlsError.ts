/** Why TLS failed, and what to do about it. */
import type { Socket } from "effect/socket"

/** Undefined where the connection failed for another reason. */
export const tlsError = ({ reason }: Socket.SocketError): string | undefined => {
  const { code = "", message } = ("cause" in reason ? (reason.cause ?? {}) : {}) as Partial<NodeJS.ErrnoException>
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return `the server's certificate is for another name: ${message}. Name the server with --host as its certificate does`
  }
  if (code.startsWith("CERT_")) return `the server's certificate is not trusted: ${message}`
  if (/^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|INVALID_PURPOSE)/.test(code)) {
    return `the server's certificate is not trusted: ${message}. Give its CA with --ca`
  }
  if (code === "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" || code.endsWith("_ALERT_HANDSHAKE_FAILURE")) {
    return "the server wants a certificate. Give one with --cert and --key"
  }
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") {
    return "the server does not speak TLS. Leave out --tls, --ca, --cert and --key"
  }
  return code.startsWith("ERR_SSL_") ? `TLS failed: ${code}` : undefined
}
