/** Clients for all systems, as cheap as possible: all share one read buffer. */
import { connect, type Socket, type TcpNetConnectOpts } from "node:net"

/** The buffer of all reads: a handler copies what it keeps. */
const shared = Buffer.allocUnsafe(65_536)

export interface Client {
  readonly socket: Socket
  /** Handles the first `length` bytes of `bytes`, read after the welcome. */
  handle: (bytes: Buffer, length: number) => void
}

/** Connects, sends `hello`, and resolves with everything received up to and including `welcome`. */
export const open = (port: number, hello: string, welcome: string): Promise<Client & { readonly welcome: string }> =>
  new Promise((resolve, reject) => {
    let greeting = ""
    const greet = (bytes: Buffer, length: number) => {
      greeting += bytes.toString("latin1", 0, length)
      if (!greeting.includes(welcome) || !greeting.endsWith("\n")) return
      client.handle = () => {}
      resolve(Object.assign(client, { welcome: greeting }))
    }
    const onread = {
      buffer: shared,
      callback: (length: number, bytes: Uint8Array) => {
        client.handle(bytes as Buffer, length)
        return true
      }
    }
    const options: TcpNetConnectOpts = { host: "127.0.0.1", port, noDelay: true, onread }
    const socket = connect(options)
    const client: Client = { socket, handle: greet }
    socket.on("error", reject)
    socket.on("close", () => reject(new Error(`closed before ${welcome}: ${greeting}`)))
    if (hello !== "") socket.write(hello)
  })

export const sleep = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds))

/** Closes all connections, and gives the server time to notice. */
export const close = async (clients: Iterable<Client>): Promise<void> => {
  for (const { socket } of clients) socket.destroy()
  await sleep(300)
}
