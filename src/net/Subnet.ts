/** Addresses, and the subnets that connections count for. */

/** Groups of 16 bits of an IPv6 address that name the subnet: one host may have the rest to itself. */
const SUBNET_GROUPS = 4
const GROUPS = 8

/** An IPv6 address goes in brackets where a port follows it. */
export const hostInUrl = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/**
 * The IPv4 address, or the /64 of the IPv6 address, of `127.0.0.1:5000` or
 * `[2001:db8:1:2:3::4]:5000`. Of any other text, the text without its port.
 */
export const subnetOf = (address: string): string => {
  const host = /^(.*):[0-9]+$/.exec(address)?.[1] ?? address
  if (!host.startsWith("[")) return host
  const [high = "", low] = host.slice(1, -1).split("::", 2)
  const mapped = /^(?:ffff:)([0-9.]+)$/i.exec(low ?? "")?.[1]
  if (high === "" && mapped !== undefined) return mapped
  const groups = high === "" ? [] : high.split(":")
  while (low !== undefined && groups.length < GROUPS - low.split(":").filter(Boolean).length) groups.push("0")
  return [...groups, ...(low ?? "").split(":").filter(Boolean)].slice(0, SUBNET_GROUPS).join(":")
}

/** Counts something in all and by subnet. */
export class SubnetCounter {
  total = 0
  readonly #bySubnet = new Map<string, number>()

  /** How many there are from the subnet of this address. */
  of(address: string): number {
    return this.#bySubnet.get(subnetOf(address)) ?? 0
  }

  add(address: string, more: number): void {
    const subnet = subnetOf(address)
    const count = (this.#bySubnet.get(subnet) ?? 0) + more
    this.total += more
    // A subnet without any costs nothing.
    if (count === 0) this.#bySubnet.delete(subnet)
    else this.#bySubnet.set(subnet, count)
  }
}
