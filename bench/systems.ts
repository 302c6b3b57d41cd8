/** The measured servers, each a process of its own on a free port of the loopback interface. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { fileURLToPath } from "node:url"
import { sleep } from "./client.ts"

export const systemNames = ["rankd", "nats", "redis", "floor", "pipe"] as const
export type SystemName = (typeof systemNames)[number]

export interface System {
  readonly name: SystemName
  readonly port: number
  /** Resident memory in bytes. */
  readonly memory: () => number
  readonly stop: () => Promise<void>
}

const root = fileURLToPath(new URL("..", import.meta.url))

/** More than any scenario connects. */
const MAX_CLIENTS = 15_000

const node = (...args: ReadonlyArray<string>): ReadonlyArray<string> => [process.execPath, "--import", "tsx", ...args]

const commands: { readonly [name in SystemName]: (port: number) => ReadonlyArray<string> } = {
  rankd: (port) => node("src/main.ts", `--port=${port}`, `--max-clients=${MAX_CLIENTS}`, "--log-level=none"),
  nats: (port) => ["nats-server", "--addr", "127.0.0.1", "--port", `${port}`],
  redis: (port) => [
    "redis-server",
    ...["--bind", "127.0.0.1", "--port", `${port}`, "--save", "", "--appendonly", "no", "--dir", "/tmp"],
    ...["--maxclients", `${MAX_CLIENTS}`, "--client-output-buffer-limit", "pubsub 0 0 0"]
  ],
  floor: (port) => node("bench/floor.ts", `${port}`),
  pipe: (port) => node("bench/floor.ts", `${port}`, "pipe")
}

/** Its version; undefined if it is not installed. */
export const version = (name: SystemName): string | undefined => {
  if (name === "floor" || name === "pipe") return `node ${process.version}`
  if (name === "rankd") return JSON.parse(readFileSync(`${root}package.json`, "utf8")).version
  const { error, stdout } = spawnSync(`${name}-server`, ["--version"], { encoding: "utf8" })
  return error === undefined ? /v=?(\d[\d.]*)/.exec(stdout)?.[1] : undefined
}

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => resolve(port))
    })
  })

/** Resolves when the port answers; rejects if the process ends before. */
const answers = (child: ChildProcess, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`${child.spawnfile} ended with ${code}`)))
    const attempt = () => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.destroy()
        resolve()
      })
      socket.on("error", () => setTimeout(attempt, 20))
    }
    attempt()
  })

export const start = async (name: SystemName): Promise<System> => {
  const port = await freePort()
  const [file, ...args] = commands[name](port)
  // NATS logs its connections to standard error, and rankd its members.
  const stderr = name === "nats" || name === "rankd" ? "ignore" : "inherit"
  const child = spawn(file!, args, { cwd: root, stdio: ["ignore", "ignore", stderr] })
  await answers(child, port)
  // The bench has closed the connection by then.
  await sleep(200)
  return {
    name,
    port,
    memory: () => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))![1]) * 1024,
    stop: () =>
      new Promise((resolve) => {
        child.removeAllListeners("exit").once("exit", () => resolve())
        child.kill("SIGKILL")
      })
  }
}
