/** Commands with an outcome: requests and their answers, with so many open at the same time. */
import { type Client, close, open, sleep } from "./client.ts"
import { PAYLOAD, protocols } from "./protocols.ts"
import type { System, SystemName } from "./systems.ts"

interface Requests {
  readonly issuer: string
  readonly executor: string
  readonly request: (slot: number) => string
  /** The answer to the message with this id. */
  readonly answer: (id: number) => string
  /** The offset of the id in a message to the executor, and in one to the issuer. */
  readonly idInRequest: number
  readonly idInAnswer: number
  /** Bytes of a message after its first line. */
  readonly requestBody: number
  readonly answerBody: number
}

const natsConnect = 'CONNECT {"verbose":false,"pedantic":false}\r\n'

const ranked: Requests = {
  issuer: "",
  executor: "",
  request: (slot) => `EXEC#${slot} 1 ${PAYLOAD}\n`,
  answer: (id) => `RESULT#${id} 0\n`,
  idInRequest: "EXEC#".length,
  idInAnswer: "RESULT#".length,
  requestBody: 0,
  answerBody: 0
}

const requests: { readonly [name in SystemName]?: Requests } = {
  rankd: ranked,
  floor: ranked,
  nats: {
    issuer: `${natsConnect}SUB _INBOX.a.* 1\r\nPING\r\n`,
    executor: `${natsConnect}SUB work 1\r\nPING\r\n`,
    request: (slot) => `PUB work _INBOX.a.${slot} ${PAYLOAD.length}\r\n${PAYLOAD}\r\n`,
    answer: (id) => `PUB _INBOX.a.${id} 1\r\n0\r\n`,
    idInRequest: "MSG work 1 _INBOX.a.".length,
    idInAnswer: "MSG _INBOX.a.".length,
    requestBody: PAYLOAD.length + 2,
    answerBody: 3
  }
}

export const hasRoundTrip = (name: SystemName): boolean => name in requests

const LF = 0x0a

/** Calls back with the id of each message; keeps an unfinished one for the next read. */
const ids = (offset: number, body: number, found: (id: number) => void, done: () => void): Client["handle"] => {
  let rest: Buffer = Buffer.alloc(0)
  return (read, length) => {
    const bytes = rest.length === 0 ? read.subarray(0, length) : Buffer.concat([rest, read.subarray(0, length)])
    let start = 0
    for (;;) {
      const end = bytes.indexOf(LF, start)
      if (end < 0 || end + body >= bytes.length) break
      let id = 0
      for (let at = start + offset; ; at++) {
        const digit = bytes[at]! - 0x30
        if (digit < 0 || digit > 9) break
        id = id * 10 + digit
      }
      found(id)
      start = end + 1 + body
    }
    rest = start === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(start))
    done()
  }
}

export interface RoundTrips {
  /** Requests a second. */
  readonly rate: number
  /** Microseconds from the request to its answer. */
  readonly p50: number
  readonly p99: number
  readonly p999: number
}

export const roundTrip = async (
  { name, port }: System,
  window: number,
  milliseconds: number,
  warmUp: number
): Promise<RoundTrips> => {
  const { welcome } = protocols[name]
  const { answer, answerBody, executor, idInAnswer, idInRequest, issuer, request, requestBody } = requests[name]!
  const asking = await open(port, issuer, welcome)
  const answering = await open(port, executor, welcome)

  let answers = ""
  answering.handle = ids(
    idInRequest,
    requestBody,
    (id) => {
      answers += answer(id)
    },
    () => {
      if (answers !== "") answering.socket.write(answers, "latin1")
      answers = ""
    }
  )

  const texts = Array.from({ length: window }, (_, slot) => request(slot))
  const asked = new Float64Array(window)
  const samples: Array<number> = []
  let measuring = false
  let now = performance.now()
  let asks = ""
  asking.handle = ids(
    idInAnswer,
    answerBody,
    (slot) => {
      if (asks === "") now = performance.now()
      if (measuring) samples.push(now - asked[slot]!)
      asked[slot] = now
      asks += texts[slot]
    },
    () => {
      if (asks !== "") asking.socket.write(asks, "latin1")
      asks = ""
    }
  )
  asked.fill(performance.now())
  asking.socket.write(texts.join(""), "latin1")

  await sleep(warmUp)
  measuring = true
  const start = performance.now()
  await sleep(milliseconds)
  measuring = false
  const rate = samples.length / ((performance.now() - start) / 1000)
  await close([asking, answering])
  const sorted = Float64Array.from(samples).sort()
  const quantile = (share: number) => 1000 * sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!
  return { rate, p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) }
}
