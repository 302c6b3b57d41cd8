/**
 * A test of the simulation: without any one clause of the rule it finds a violation within a minute of seeds. The
 * search begins at the seed that found it last. `run.ts --mutant` shows the violation, and finds another seed.
 */
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { mutants } from "./mutants.ts"
import type { Answer } from "./mutantWorker.ts"

const WORKERS = 2

const script = fileURLToPath(new URL("./mutantWorker.ts", import.meta.url))
const started: Array<ChildProcess> = []
const free = Effect.runSync(Queue.unbounded<ChildProcess>())

const start = (): ChildProcess => {
  const worker = fork(script, { execArgv: ["--disable-warning=ExperimentalWarning"] })
  started.push(worker)
  return worker
}

const ask = (worker: ChildProcess, index: number): Effect.Effect<Answer> =>
  Effect.callback((resume) => {
    const ended = (code: number | null) =>
      resume(Effect.succeed({ failure: `the worker has ended with status ${code}` }))
    worker.once("exit", ended)
    worker.once("message", (answer: Answer) => {
      worker.off("exit", ended)
      resume(Effect.succeed(answer))
    })
    worker.send(index)
  })

const idle = Effect.suspend(() => {
  if (started.length < WORKERS) Queue.offerUnsafe(free, start())
  return Queue.take(free)
})

afterAll(() => {
  for (const worker of started) worker.kill("SIGKILL")
})

describe("the simulation fails unless", { concurrent: true, timeout: 600_000 }, () => {
  it.live.each(mutants.map(({ clause }, index) => [clause, index] as const))("%s", ([, index]) =>
    Effect.acquireUseRelease(
      idle,
      (worker) => Effect.map(ask(worker, index), ({ failure }) => assert.isUndefined(failure)),
      (worker) => Queue.offer(free, worker)
    )
  )
})
