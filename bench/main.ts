import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { setup } from "../test/support/build-program.ts";
import { type BenchReport, type Measured, report, table } from "./bench.ts";
import { installPeers } from "./peers/peers.ts";

/** In the order in which `all` runs them. Each file is loaded when its bench runs: one must not cost another memory. */
const benches: Readonly<Record<string, () => Promise<Measured>>> = {
  agent: async () => (await import("./agent.ts")).agent(),
  dispatch: async () => (await import("./dispatch.ts")).dispatch(),
  throughput: async () => (await import("./throughput.ts")).throughput(),
  warm: async () => (await import("./warm.ts")).warm(),
  submit: async () => (await import("./submit.ts")).submit(),
  incremental: async () => (await import("./incremental.ts")).incremental(),
  import: async () => (await import("./source-import.ts")).sourceImport(),
  "cas-wire": async () => (await import("./cas-wire.ts")).casWire(),
  cas: async () => (await import("./cas.ts")).cas(),
  logs: async () => (await import("./logs.ts")).logs(),
  scale: async () => (await import("./scale.ts")).scale(),
  recover: async () => (await import("./recover.ts")).recover(),
  sandbox: async () => (await import("./sandbox.ts")).sandbox(),
  masking: async () => (await import("./masking.ts")).masks(),
};

/** What docs/performance.md tells; only `all` writes it, so that its figures are of one machine and one hour. */
const docs = join(import.meta.dirname, "../docs");

const { positionals, values } = parseArgs({ allowPositionals: true, options: { peers: { type: "boolean" } } });
const all = positionals.includes("all");
const unknown = positionals.filter((name) => name !== "all" && !(name in benches));
if (unknown.length > 0 || positionals.length === 0) {
  if (unknown.length > 0) process.stderr.write(`no bench "${unknown.join('", "')}"\n`);
  process.stderr.write(
    `npm run bench -- <name>… [--peers]; the names: all, ${Object.keys(benches).join(", ")}\n` +
      "--peers installs what ours is held against into a cache folder first; what is there is measured without it.\n",
  );
  process.exitCode = 2;
} else {
  if (values.peers === true) installPeers();
  setup(); // farms run what is shipped
  await run(all ? Object.keys(benches) : positionals);
}

/** One that breaks does not keep the others from being measured, but the command fails, and nothing is kept of `all`. */
async function run(names: readonly string[]): Promise<void> {
  const reports: BenchReport[] = [];
  for (const [name, measure] of Object.entries(benches)) {
    if (!names.includes(name)) continue;
    try {
      const found = await report(name, measure);
      reports.push(found);
      writeFileSync(`bench-${name}.json`, `${JSON.stringify(found, undefined, 2)}\n`);
      process.stdout.write(`${table(found)}\n(also in bench-${name}.json)\n\n`);
    } catch (error) {
      process.exitCode = 1;
      process.stderr.write(`${name} FAILED: ${error instanceof Error ? error.stack : String(error)}\n\n`);
    }
  }
  if (all && process.exitCode !== 1) keep(reports);
}

/** As JSON, and as tables between the two marks of the page. */
function keep(reports: readonly BenchReport[]): void {
  writeFileSync(join(docs, "performance.json"), `${JSON.stringify(reports, undefined, 2)}\n`);
  const page = join(docs, "performance.md");
  const [before, , after] = readFileSync(page, "utf8").split(/^<!-- (?:begin|end) of figures -->\n/m);
  if (after === undefined) throw new Error(`${page} has no marks between which the figures stand`);
  const tables = reports.map((found) => `### ${found.bench}\n\n${table(found)}\n`).join("\n");
  writeFileSync(page, `${before}<!-- begin of figures -->\n\n${tables}\n<!-- end of figures -->\n${after}`);
}
