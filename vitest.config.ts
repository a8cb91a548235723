import { join } from "node:path";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/support/build-program.ts"],
    setupFiles: ["test/support/property-runs.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 3, // on two processors: tests that start farms wait for half of their time
    // Of all programs that tests start, hundreds of them.
    env: {
      // Each farm has a home of its own, and would compile everything anew.
      NODE_COMPILE_CACHE: join(import.meta.dirname, "node_modules", ".cache", "node"),
      // A third of the processor time of an agent's start; tests of tools have them looked for.
      MILLRACE_ONLY_NAMED_TOOLS: "true",
    },
  },
});
