/** Groups of 16 bits of an IPv6 address that name the network: one host may have the rest to itself. */
const NETWORK_GROUPS = 4
const GROUPS = 8

/** An IPv6 address goes in brackets where a port follows it. */
export const hostInUrl = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/**
 * Whom connections count for: the IPv4 address, or the network of the IPv6 address,
 * of `127.0.0.1:5000` or `[2001:db8:1:2:3::4]:5000`. Of another address, itself.
 */
export const networkOf = (address: string): string => {
  const host = /^(.*):[0-9]+$/.exec(address)?.[1] ?? address
  if (!host.startsWith("[")) return host
  const [high = "", low] = host.slice(1, -1).split("::", 2)
  const mapped = /^(?:ffff:)([0-9.]+)$/i.exec(low ?? "")?.[1]
  if (high === "" && mapped !== undefined) return mapped
  const groups = high === "" ? [] : high.split(":")
  while (low !== undefined && groups.length < GROUPS - low.split(":").filter(Boolean).length) groups.push("0")
  return [...groups, ...(low ?? "").split(":").filter(Boolean)].slice(0, NETWORK_GROUPS).join(":")
}

/** How many there are of something: in all, and from each network. */
export class NetworkCount {
  total = 0
  readonly #ofNetwork = new Map<string, number>()

  /** From the network of this address. */
  of(address: string): number {
    return this.#ofNetwork.get(networkOf(address)) ?? 0
  }

  add(address: string, more: number): void {
    const network = networkOf(address)
    const left = (this.#ofNetwork.get(network) ?? 0) + more
    this.total += more
    // One that has none costs nothing.
    if (left === 0) this.#ofNetwork.delete(network)
    else this.#ofNetwork.set(network, left)
  }
}
