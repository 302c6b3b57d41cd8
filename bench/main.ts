/**
 * `npm run bench`: rankd beside NATS, Redis and the floor. This process generates the
 * load; each system runs in a process of its own. Rounds are interleaved: one round of
 * each system, then the next, so that whatever else the machine does hits all of them.
 */
import { availableParallelism, cpus, release, totalmem, type } from "node:os"
import { parseArgs } from "node:util"
import { admission, idle, succession } from "./crowd.ts"
import { rosterTimes } from "./roster.ts"
import { hasRoundTrip, roundTrip } from "./roundTrip.ts"
import { type System, type SystemName, start, systemNames, version } from "./systems.ts"
import { type Traffic, throughput } from "./throughput.ts"

const usage = `npm run bench -- [options]

  --json           one JSON object on standard output, and nothing else there
  --short          rankd and the floor alone, a short round each: whether it works, not how fast it is
  --rounds N       rounds of each scenario (5)
  --only NAMES     only these scenarios, as relay,pairs
  --systems NAMES  only these systems, as rankd,nats
`

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    short: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string" },
    systems: { type: "string" },
    help: { type: "boolean", default: false }
  }
})

const rounds = Number(options.rounds ?? (options.short ? 1 : 5))
const [milliseconds, warmUp] = options.short ? [200, 100] : [1000, 500]
const scale = options.short ? 10 : 1

/** The figures of one round of one system, by name. */
type Figures = { readonly [figure: string]: number }

interface Scenario {
  readonly name: string
  readonly systems: (name: SystemName) => boolean
  /** Whether every round starts the system afresh. */
  readonly fresh?: boolean
  readonly rounds?: number
  /** Undefined for a scenario without a server. */
  readonly run: (system: System) => Promise<Figures> | Figures
}

const everySystem = (name: SystemName): boolean => name !== "pipe"
const onlyRankd = (name: SystemName): boolean => name === "rankd"

const relayed = (name: string, traffic: Traffic, systems = everySystem): Scenario => ({
  name,
  systems,
  run: async (system) => ({ "deliveries/s": await throughput(system, traffic, milliseconds, warmUp) })
})

const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2
}

/** One line to so many clients, and when all have it the next: the least that a departure costs. */
const announced = (count: number): Scenario => ({
  name: `one line to ${count}`,
  systems: (name) => name === "rankd" || name === "floor",
  rounds: Math.min(rounds, 3),
  run: async (system) => {
    const traffic = { publishers: 1, fanOut: count, window: 1 }
    return { "all ms": (1000 * count) / (await throughput(system, traffic, milliseconds, warmUp)) }
  }
})

const departures = (count: number, leaving: number, times: number): Scenario => ({
  name: leaving === 1 ? `succession ${count}` : `${leaving} of ${count} leave`,
  systems: onlyRankd,
  rounds: Math.min(rounds, 3),
  run: async (system) => {
    const measured = await succession(system, count, leaving, times)
    return {
      "next ms": median(measured.map(({ next }) => next)),
      "all ms": median(measured.map(({ all }) => all))
    }
  }
})

const scenarios: ReadonlyArray<Scenario> = [
  relayed("relay", { publishers: 1, fanOut: 1, window: 16_384 }, () => true),
  relayed("fan-out 100", { publishers: 1, fanOut: 100, window: 512 }),
  relayed("fan-out 1000", { publishers: 1, fanOut: 1000 / scale, window: 64 }),
  relayed("pairs", { publishers: 64, fanOut: 1, window: 1024 }),
  ...[1, 64, 256].map(
    (window): Scenario => ({
      name: `round trip ${window}`,
      systems: (name) => hasRoundTrip(name),
      run: async (system) => {
        const { p50, p99, p999, rate } = await roundTrip(system, window, milliseconds, warmUp)
        return { "requests/s": rate, "p50 us": p50, "p99 us": p99, "p99.9 us": p999 }
      }
    })
  ),
  {
    name: "connect",
    systems: everySystem,
    run: async (system) => ({ "clients/s": await admission(system, 2000 / scale) })
  },
  {
    name: "idle",
    systems: everySystem,
    fresh: true,
    rounds: Math.min(rounds, 3),
    run: async (system) => ({ "bytes/client": await idle(system, 5000 / scale) })
  },
  announced(1000 / scale),
  announced(10_000 / scale),
  departures(1000 / scale, 1, 10),
  departures(10_000 / scale, 1, 10),
  departures(10_000 / scale, 1000 / scale, 3),
  ...[1000, 100_000, 1_000_000].map(
    (size): Scenario => ({
      name: `roster ${size / scale}`,
      systems: onlyRankd,
      rounds: Math.min(rounds, 3),
      run: () => {
        const { at, join, leave, rankOf } = rosterTimes(size / scale, 100_000 / scale)
        return { "join ns": join, "leave ns": leave, "rankOf ns": rankOf, "at ns": at }
      }
    })
  )
]

interface Goal {
  readonly scenarios: RegExp
  readonly figure: string
  /** A goal for rankd's figure, or for its ratio to another system's. */
  readonly against?: SystemName
  readonly least?: number
  readonly most?: number
}

const goals: ReadonlyArray<Goal> = [
  { scenarios: /^(?:relay|pairs)$/, figure: "deliveries/s", against: "nats", least: 1.2 },
  { scenarios: /^fan-out/, figure: "deliveries/s", against: "nats", least: 1.5 },
  { scenarios: /^(?:relay|pairs|fan-out.*)$/, figure: "deliveries/s", against: "floor", least: 0.9 },
  { scenarios: /^(?:relay|pairs|fan-out.*)$/, figure: "deliveries/s", against: "redis", least: 1 },
  { scenarios: /^round trip (?:64|256)$/, figure: "requests/s", against: "nats", least: 1.2 },
  { scenarios: /^round trip (?:64|256)$/, figure: "p99 us", against: "nats", most: 1 },
  { scenarios: /^connect$/, figure: "clients/s", against: "nats", least: 1 },
  { scenarios: /^connect$/, figure: "clients/s", against: "redis", least: 1 },
  { scenarios: /^idle$/, figure: "bytes/client", against: "nats", most: 0.8 },
  { scenarios: /^idle$/, figure: "bytes/client", against: "redis", most: 1 },
  { scenarios: /^succession 1000$/, figure: "next ms", most: 1 },
  { scenarios: /^succession 1000$/, figure: "all ms", most: 20 },
  { scenarios: /^succession 10000$/, figure: "next ms", most: 2 },
  { scenarios: /^succession 10000$/, figure: "all ms", most: 200 }
]

type Medians = { readonly [system in SystemName]?: Figures }

/** Whether the medians meet a goal; undefined if one that it compares is missing. */
const judged = (goal: Goal, medians: Medians) => {
  const own = medians.rankd?.[goal.figure]
  const other = goal.against === undefined ? 1 : medians[goal.against]?.[goal.figure]
  if (own === undefined || other === undefined) return undefined
  const value = own / other
  return { ...goal, value, met: value >= (goal.least ?? 0) && value <= (goal.most ?? Number.POSITIVE_INFINITY) }
}

const measure = async (scenario: Scenario, installed: ReadonlyArray<SystemName>) => {
  const names = installed.filter(scenario.systems)
  const results = new Map(names.map((name): [SystemName, Array<Figures>] => [name, []]))
  const running = new Map<SystemName, System>()
  for (let round = 0; round < (scenario.rounds ?? rounds); round++) {
    for (const name of names) {
      const system = running.get(name) ?? (await start(name))
      running.set(name, system)
      process.stderr.write(`${scenario.name}: round ${round + 1}, ${name}${" ".repeat(20)}\r`)
      results.get(name)!.push(await scenario.run(system))
      if (scenario.fresh) {
        running.delete(name)
        await system.stop()
      }
    }
  }
  for (const system of running.values()) await system.stop()
  const medians: Medians = Object.fromEntries(
    [...results].map(([name, all]) => [
      name,
      Object.fromEntries(Object.keys(all[0]!).map((figure) => [figure, median(all.map((one) => one[figure]!))]))
    ])
  )
  const verdicts = goals
    .filter(({ scenarios }) => scenarios.test(scenario.name))
    .map((goal) => judged(goal, medians))
    .filter((verdict) => verdict !== undefined)
  return { name: scenario.name, medians, rounds: Object.fromEntries(results), verdicts }
}

type Measured = Awaited<ReturnType<typeof measure>>

const rounded = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3)

const print = ({ medians, name, verdicts }: Measured): void => {
  const names = Object.keys(medians) as Array<SystemName>
  const figures = Object.keys(medians[names[0]!]!)
  const rows = [
    [name, ...figures],
    ...names.map((system) => [`  ${system}`, ...figures.map((figure) => rounded(medians[system]![figure]!))])
  ]
  for (const [first, ...cells] of rows) {
    console.log([first!.padEnd(24), ...cells.map((cell) => cell.padStart(14))].join(""))
  }
  for (const { against, figure, least, met, most, value } of verdicts) {
    const bound = least === undefined ? `at most ${most}` : `at least ${least}`
    const unit = against === undefined ? "" : "x"
    const what = against === undefined ? figure : `${figure} against ${against}`
    console.log(`  ${met ? "met   " : "MISSED"} ${what}: ${value.toPrecision(3)}${unit}, goal ${bound}${unit}`)
  }
  console.log()
}

if (options.help) {
  console.log(usage)
} else {
  const wanted = options.short ? ["rankd", "floor"] : (options.systems?.split(",") ?? systemNames)
  const versions = systemNames.filter((name) => wanted.includes(name)).map((name) => ({ name, version: version(name) }))
  for (const { name, version } of versions) {
    if (version === undefined) console.error(`${name} is not installed (apt-get install ${name}-server): left out`)
  }
  const installed = versions.filter(({ version }) => version !== undefined).map(({ name }) => name)
  const only = options.only?.split(",")
  const machine = `${cpus()[0]?.model}, ${availableParallelism()} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}, node ${process.version}`
  if (!options.json) {
    console.log(machine)
    console.log(`${versions.map(({ name, version }) => `${name} ${version ?? "missing"}`).join(", ")}\n`)
  }
  const measured: Array<Measured> = []
  for (const scenario of scenarios) {
    if (only !== undefined && !only.some((name) => scenario.name.startsWith(name))) continue
    const one = await measure(scenario, installed)
    measured.push(one)
    if (!options.json) print(one)
  }
  if (options.json) console.log(JSON.stringify({ machine, versions, scenarios: measured }))
}
