import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"

/** What these measure, others at work beside them would disturb. */
const timed = ["test/client/{faults,liveness}.test.ts", "test/net/node/tls.test.ts", "test/server/wire.test.ts"]
const loads = ["test/server/admission/crowds.test.ts", "test/server/hostile.test.ts"]

/** They start the program some hundred times: `npm run test:commands` runs them. */
const commands = ["test/cli/**/*.test.ts", "test/agent/**/*.test.ts", "test/{examples,package}.test.ts"]

/** They search for what the simulation of succession must find: `npm run test:mutants` runs them. */
const mutants = ["test/succession/mutants.test.ts"]

/** Files that start processes wait for most of their time: they begin first, and others work meanwhile. */
class WaitingFirst extends BaseSequencer {
  override async sort(files: Array<TestSpecification>) {
    const waits = ({ moduleId }: TestSpecification) => (/\/test\/(?:cli\/|client\/|[^/]+$)/.test(moduleId) ? 0 : 1)
    return (await super.sort(files)).sort((a, b) => waits(a) - waits(b))
  }
}

export default defineConfig({
  test: {
    // What takes so long hangs: no machine is so loaded. Tests that measure how long something takes say so themselves.
    testTimeout: 120_000,
    globalSetup: "test/support/program.ts",
    sequence: { sequencer: WaitingFirst },
    // No file leaves anything behind, and to load the modules again for each costs a second.
    isolate: false,
    projects: [
      {
        extends: true,
        test: {
          ...{
            name: "together",
            include: ["test/**/*.test.ts"],
            exclude: [...timed, ...loads, ...commands, ...mutants]
          },
          ...{ maxWorkers: 2, sequence: { groupOrder: 0 } }
        }
      },
      { extends: true, test: { name: "commands", include: commands, maxWorkers: 2, sequence: { groupOrder: 0 } } },
      { extends: true, test: { name: "mutants", include: mutants, sequence: { groupOrder: 3 } } },
      { extends: true, test: { name: "timed", include: timed, maxWorkers: 3, sequence: { groupOrder: 1 } } },
      { extends: true, test: { name: "loads", include: loads, maxWorkers: 1, sequence: { groupOrder: 2 } } }
    ]
  }
})
