import { writeFileSync } from "node:fs";
import { type Measured, report, table } from "./bench.ts";

/** Each file is loaded when its bench runs: what one of them loads must not cost another time or memory. */
const benches: Readonly<Record<string, () => Promise<Measured>>> = {
  cas: async () => (await import("./cas.ts")).cas(),
  incremental: async () => (await import("./incremental.ts")).incremental(),
  sandbox: async () => (await import("./sandbox.ts")).sandbox(),
  dispatch: async () => (await import("./dispatch.ts")).dispatch(),
  warm: async () => (await import("./warm.ts")).warm(),
  "cas-wire": async () => (await import("./cas-wire.ts")).casWire(),
  logs: async () => (await import("./logs.ts")).logs(),
  agent: async () => (await import("./agent.ts")).agent(),
  throughput: async () => (await import("./throughput.ts")).throughput(),
};

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in benches));
if (unknown.length > 0) {
  process.stderr.write(`no bench "${unknown.join('", "')}"; there are: ${Object.keys(benches).join(", ")}\n`);
  process.exitCode = 2;
} else {
  for (const [name, run] of Object.entries(benches)) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    const found = await report(name, run);
    const file = `bench-${name}.json`;
    writeFileSync(file, `${JSON.stringify(found, undefined, 2)}\n`);
    process.stdout.write(`${table(found)}\n(also in ${file})\n\n`);
  }
}
