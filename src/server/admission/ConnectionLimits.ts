/** The limits on connections: in total, and per subnet. */
import { SubnetCounter } from "../../net/Subnet.ts"
import type { RefusalCause } from "../events/CloseCause.ts"
import type { SettingsValues } from "../Settings.ts"

export class ConnectionLimits {
  readonly #settings: Pick<SettingsValues, "maxConnections" | "maxConnectionsPerAddress">
  readonly #open = new SubnetCounter()

  constructor(settings: Pick<SettingsValues, "maxConnections" | "maxConnectionsPerAddress">) {
    this.#settings = settings
  }

  /** Counts a connection until it is `closed`. Returns the cause to refuse it, if there are too many. */
  opened(address: string): RefusalCause | undefined {
    const { maxConnections, maxConnectionsPerAddress } = this.#settings
    this.#open.add(address, 1)
    if (this.#open.total > maxConnections) return "too many connections"
    return this.#open.of(address) > maxConnectionsPerAddress ? "too many connections from the address" : undefined
  }

  closed(address: string): void {
    this.#open.add(address, -1)
  }
}
