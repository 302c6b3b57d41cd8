/** How long nobody led, by kind of fault. */
interface Row {
  readonly bound: string
  /** Milliseconds without a leader after each fault, by the heartbeat of the leader. Zero: its job went on. */
  readonly gaps: Map<number, Array<number>>
}

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`

const shown = (gaps: ReadonlyArray<number> = []): string => {
  if (gaps.length === 0) return "-"
  const sorted = [...gaps].sort((one, other) => one - other)
  const median = (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2
  return `${gaps.length}: ${seconds(median)}, ${seconds(sorted.at(-1)!)}`
}

export class Table {
  readonly #heartbeats: ReadonlyArray<number>
  readonly #rows = new Map<string, Row>()

  constructor(heartbeats: ReadonlyArray<number>) {
    this.#heartbeats = [...new Set(heartbeats)].sort((one, other) => one - other)
  }

  add(fault: string, bound: string, heartbeat: number, gap: number): void {
    const row = this.#rows.get(fault) ?? { bound, gaps: new Map() }
    this.#rows.set(fault, row)
    row.gaps.set(heartbeat, [...(row.gaps.get(heartbeat) ?? []), gap])
  }

  /** As Markdown. In each cell: how many faults, and the median and the largest time without a leader. */
  toString(): string {
    const rows = [
      ["fault", ...this.#heartbeats.map((heartbeat) => `h = ${heartbeat / 1000} s`), "bound"],
      ["---", ...this.#heartbeats.map(() => "---"), "---"],
      ...[...this.#rows]
        .sort(([one], [other]) => one.localeCompare(other))
        .map(([fault, { bound, gaps }]) => [fault, ...this.#heartbeats.map((h) => shown(gaps.get(h))), bound])
    ]
    return rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n")
  }
}
