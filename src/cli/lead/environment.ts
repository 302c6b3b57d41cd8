/** The environment of `lead` for other processes: without what only `lead` itself may know. */

/** The token, and the files that prove the identity of this client. */
const SECRETS = ["RANKD_TOKEN", "RANKD_CERT", "RANKD_KEY"]

export const environment = (): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRETS.includes(name)))
