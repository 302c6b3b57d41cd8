/** The lines that the load generator sends to each system, and the bytes of a delivery. */
import type { SystemName } from "./systems.ts"

/** The command to deliver: as a line of rankd's, `EXEC 1 ...`, it has 58 bytes. */
export const PAYLOAD = "uptime --since yesterday --format short --utc now "

/** Where a message goes: from the publisher of this number to its own subscriber, or to all of them. */
export interface Route {
  readonly publisher: number
  readonly publishers: number
  readonly everyone: boolean
}

export interface Protocol {
  /** The first bytes of a client, and a part of the answer to them. */
  readonly hello: string
  readonly welcome: string
  /** The same for a subscriber. */
  readonly subscribe: (route: Route) => { readonly hello: string; readonly welcome: string }
  readonly command: (route: Route) => string
  /** The bytes that a subscriber receives for one command. */
  readonly delivery: (route: Route) => string
}

const ranked: Protocol = {
  hello: "",
  welcome: "RANK ",
  subscribe: () => ({ hello: "", welcome: "RANK " }),
  command: ({ everyone, publisher, publishers }) => `EXEC ${everyone ? "*" : publisher + publishers} ${PAYLOAD}\n`,
  delivery: ({ publisher }) => `EXEC ${publisher} ${PAYLOAD}\n`
}

const subject = ({ everyone, publisher }: Route) => (everyone ? "all" : `s${publisher}`)

const natsConnect = 'CONNECT {"verbose":false,"pedantic":false}\r\n'

const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`

export const protocols: { readonly [name in SystemName]: Protocol } = {
  rankd: ranked,
  floor: ranked,
  pipe: { ...ranked, delivery: ranked.command },
  nats: {
    hello: `${natsConnect}PING\r\n`,
    welcome: "PONG\r\n",
    subscribe: (route) => ({ hello: `${natsConnect}SUB ${subject(route)} 1\r\nPING\r\n`, welcome: "PONG\r\n" }),
    command: (route) => `PUB ${subject(route)} ${PAYLOAD.length}\r\n${PAYLOAD}\r\n`,
    delivery: (route) => `MSG ${subject(route)} 1 ${PAYLOAD.length}\r\n${PAYLOAD}\r\n`
  },
  redis: {
    hello: "PING\r\n",
    welcome: "+PONG\r\n",
    subscribe: (route) => ({ hello: `SUBSCRIBE ${subject(route)}\r\n`, welcome: ":1\r\n" }),
    command: (route) => `*3\r\n${bulk("PUBLISH")}${bulk(subject(route))}${bulk(PAYLOAD)}`,
    delivery: (route) => `*3\r\n${bulk("message")}${bulk(subject(route))}${bulk(PAYLOAD)}`
  }
}
