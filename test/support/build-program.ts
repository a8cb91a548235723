import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { digestOfSources } from "../../deploy/sources.ts";

const root = resolve(import.meta.dirname, "../..");
/** Of programs that are kept to be taken again; each has 7 MB. */
const kept = 4;

/** Once before all test files and all benches, and before program.ts is loaded. */
export function setup(): void {
  process.env.MILLRACE_TEST_PROGRAM ??= buildProgram();
}

/**
 * Builds the package as it would be installed, beside its dependencies, and gives its `millrace`. A program starts in half
 * of the processor time that the sources take, and tests start a thousand; and what is tested is what people get.
 */
function buildProgram(): string {
  const modules = join(root, "node_modules");
  const folder = join(modules, `.built-${digestOfSources("test").slice(0, 16)}`);
  if (!existsSync(folder)) {
    const work = mkdtempSync(join(modules, ".building-"));
    try {
      execFileSync(process.execPath, [join(root, "deploy/build-package.ts"), work], { stdio: ["ignore", 2, 2] });
      renameSync(work, folder);
    } catch (error) {
      rmSync(work, { recursive: true, force: true });
      if (!existsSync(folder)) throw error; // else another run of the tests was faster
    }
    forgetOldPrograms(modules);
  }
  return join(folder, "bin/millrace");
}

function forgetOldPrograms(modules: string): void {
  const byAge = globSync(".built-*", { cwd: modules })
    .map((name) => ({ folder: join(modules, name), builtMs: statSync(join(modules, name)).mtimeMs }))
    .sort((a, b) => b.builtMs - a.builtMs);
  for (const { folder } of byAge.slice(kept)) rmSync(folder, { recursive: true, force: true });
}
