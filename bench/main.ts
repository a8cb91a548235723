import { writeFileSync } from "node:fs";
import { type BenchReport, table } from "./bench.ts";

const benches: Readonly<Record<string, () => Promise<BenchReport>>> = {
  cas: async () => (await import("./cas.ts")).casReport(),
  dispatch: async () => (await import("./dispatch.ts")).dispatchReport(),
  incremental: async () => (await import("./incremental.ts")).incrementalReport(),
  sandbox: async () => (await import("./sandbox.ts")).sandboxReport(),
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in benches));
if (unknown.length > 0) {
  process.stderr.write(`no bench "${unknown.join('", "')}"; there are: ${Object.keys(benches).join(", ")}\n`);
  process.exitCode = 2;
} else {
  for (const [name, run] of Object.entries(benches)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    const found = await run();
    const file = `bench-${name}.json`;
    writeFileSync(file, `${JSON.stringify(found, undefined, 2)}\n`);
    process.stdout.write(`${table(found)}\n(also in ${file})\n\n`);
  }
}
