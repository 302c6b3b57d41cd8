/**
 * The floor: a minimal server on `node:net`, without Effect, Schema, ranks or bounds.
 * It numbers its clients in order of arrival, sends each its number, and passes lines
 * on: `EXEC <to> ...` and `EXEC#<id> <to> ...` to the client with that number or, for
 * `*`, to all later ones; `RESULT#...` to the first. It routes each read as one batch,
 * and writes once to each client that the batch touches.
 *
 * With `pipe` it does even less: it copies the bytes of the first client to all others.
 * Bytes pass through one Node process no faster than that, so it shows the limit of
 * the load generator.
 */
import { createServer, type Socket } from "node:net"

const LF = 0x0a
const SPACE = 0x20
const STAR = 0x2a
const HASH = 0x23
const R = 0x52

class Client {
  readonly socket: Socket
  readonly number: number
  /** The beginning of an unfinished line. */
  rest: Buffer = Buffer.alloc(0)
  /** The pieces to write at the end of the batch. */
  batch: Buffer = Buffer.allocUnsafe(65_536)
  batched = 0

  constructor(socket: Socket, number: number) {
    this.socket = socket
    this.number = number
  }

  append(bytes: Buffer, start: number, end: number): void {
    const length = end - start
    if (this.batched === 0) touched.push(this)
    if (this.batched + length > this.batch.length) this.flush()
    if (length > this.batch.length) this.batch = Buffer.allocUnsafe(length)
    bytes.copy(this.batch, this.batched, start, end)
    this.batched += length
  }

  flush(): void {
    this.socket.write(this.batch.subarray(0, this.batched))
    // The socket may keep a reference to it.
    this.batch = Buffer.allocUnsafe(65_536)
    this.batched = 0
  }
}

const clients: Array<Client> = []
const touched: Array<Client> = []
const line = Buffer.allocUnsafe(1024 * 1024)

/** Passes on the line from `start` to `end`, its LF included. */
const route = (from: Client, bytes: Buffer, start: number, end: number): void => {
  if (bytes[start] === R) {
    clients[0]!.append(bytes, start, end)
    return
  }
  let to = start + 4
  if (bytes[to] === HASH) while (bytes[to] !== SPACE) to++
  const head = bytes.copy(line, 0, start, to + 1)
  to++
  let number = 0
  let at = to
  for (; bytes[at] !== SPACE; at++) number = number * 10 + bytes[at]! - 0x30
  let length = head + line.write(`${from.number}`, head, "latin1")
  length += bytes.copy(line, length, at, end)
  if (bytes[to] !== STAR) clients[number]!.append(line, 0, length)
  else for (let i = from.number + 1; i < clients.length; i++) clients[i]!.append(line, 0, length)
}

const relay = (from: Client, chunk: Buffer): void => {
  const bytes = from.rest.length === 0 ? chunk : Buffer.concat([from.rest, chunk])
  let start = 0
  for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, start)) {
    route(from, bytes, start, end + 1)
    start = end + 1
  }
  from.rest = Buffer.from(bytes.subarray(start))
  for (const client of touched.splice(0)) if (client.batched > 0) client.flush()
}

const pipe = (from: Client, chunk: Buffer): void => {
  for (const { number, socket } of clients) if (number !== from.number) socket.write(chunk)
}

const pass = process.argv[3] === "pipe" ? pipe : relay

createServer({ noDelay: true }, (socket) => {
  const client = new Client(socket, clients.length)
  clients.push(client)
  socket.write(`RANK ${client.number} ${clients.length} 0 m${client.number + 1}\n`)
  socket.on("data", (chunk: Buffer) => pass(client, chunk))
  socket.on("error", () => {})
  // The next scenario begins when all clients have left.
  socket.on("close", () => {
    if (clients.every(({ socket }) => socket.destroyed)) clients.length = 0
  })
}).listen(Number(process.argv[2]), "127.0.0.1", 4096)
