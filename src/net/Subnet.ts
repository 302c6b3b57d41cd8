/** Addresses as text, and the subnets that they belong to: limits apply to a subnet, not to one address. */

/** The groups of 16 bits of an IPv6 address that name its subnet. One host may own all addresses in a /64. */
const SUBNET_GROUPS = 4
const GROUPS = 8

/** The host as it stands before a port: an IPv6 address is in brackets. */
export const hostInUrl = (host: string): string => (host.includes(":") ? `[${host}]` : host)

/**
 * The subnet of an address with a port: the IPv4 address in `127.0.0.1:5000`, the /64 in
 * `[2001:db8:1:2:3::4]:5000`. For any other text, the text without its port.
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

/** Counts things in total and per subnet. */
export class SubnetCounter {
  total = 0
  readonly #bySubnet = new Map<string, number>()

  /** The count for the subnet of this address. */
  of(address: string): number {
    return this.#bySubnet.get(subnetOf(address)) ?? 0
  }

  /** Adds `more` to both counts; a negative number subtracts. */
  add(address: string, more: number): void {
    const subnet = subnetOf(address)
    const count = (this.#bySubnet.get(subnet) ?? 0) + more
    this.total += more
    // A subnet with a count of 0 uses no memory.
    if (count === 0) this.#bySubnet.delete(subnet)
    else this.#bySubnet.set(subnet, count)
  }
}
