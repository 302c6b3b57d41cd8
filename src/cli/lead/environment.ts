/** The environment of `lead` for other processes: without what only `lead` itself may know. */

/** Tokens, and the files that prove who a client or a server is. */
const SECRETS = /^RANKD_(?:TOKEN(?:_FILE)?|(?:TLS_)?(?:CERT|KEY))$/

export const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRETS.test(name)))
