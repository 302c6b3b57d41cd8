/**
 * The floor: what a server costs that does no more than it has to, on `node:net`,
 * without Effect, Schema, ranks or bounds. It numbers its clients as they come and
 * tells them so, and passes lines on: `EXEC <to> ...`, `EXEC#<id> <to> ...` to the
 * client of that number or, for `*`, to all later ones, `RESULT#...` to the first.
 * Each read is routed as one batch, each client it touches written to once.
 *
 * With `pipe` it does even less: what the first client writes is written to all
 * others as it is. That is as fast as bytes can pass through one Node process, and
 * shows what the load generator can do.
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
  /** The beginning of a line whose end has not come. */
  rest: Buffer = Buffer.alloc(0)
  /** What is to be written when the batch is done. */
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
    // The socket may hold on to it.
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
  // The next scenario begins when all have gone.
  socket.on("close", () => {
    if (clients.every(({ socket }) => socket.destroyed)) clients.length = 0
  })
}).listen(Number(process.argv[2]), "127.0.0.1", 4096)
