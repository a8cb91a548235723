// Where the one self-contained executable begins (deploy/build-single-file.ts builds it). It is small on purpose: the
// runner must not carry the agent's program in its memory, so each is loaded only where it is needed.
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { Script, constants as vm } from "node:vm";
import { agentEnvironment, agentFlags, coordinatorFlags } from "../shared/process-shape.ts";
import { asset, assetNames, nodeOptions, runnerRole, textAsset } from "../shared/single-file.ts";

function start(): void {
  const role = process.argv[2];
  if (role === runnerRole) {
    process.argv.splice(2, 1);
    void load(textAsset(assetNames.runner));
    return;
  }
  if (role === "agent") restartWith(agentFlags, agentEnvironment(process.env));
  if (role === "coordinator") restartWith(coordinatorFlags, process.env);
  run();
}

/**
 * The heap's shape is fixed when a process starts. Returns when it has that shape already, or is a child of ours: that has a
 * channel, which would not live through this, and its flags.
 */
function restartWith(flags: readonly string[], env: NodeJS.ProcessEnv): void {
  if (flags.every((flag) => process.execArgv.includes(flag)) || process.send !== undefined) return;
  process.execve?.(process.execPath, [process.execPath, ...nodeOptions(flags), ...process.argv.slice(2)], env);
}

/** A module without a file. A failure ends the process as it would end Node. */
function load(source: string): Promise<unknown> {
  const url = `data:text/javascript;base64,${Buffer.from(source).toString("base64")}`;
  const importing = new Script("(url) => import(url)", {
    importModuleDynamically: vm.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  return (importing.runInThisContext() as (url: string) => Promise<unknown>)(url);
}

/** The program as a script, with its compiled code where it fits: it does not under other flags of V8, and is compiled. */
function run(): void {
  const script = new Script(textAsset(assetNames.program), {
    filename: assetNames.program,
    cachedData: asset(assetNames.programCode),
  });
  // The `require` that is there by itself knows built-in modules only, and cannot load SQLite's addon.
  const require = createRequire(process.execPath);
  (script.runInThisContext() as (...given: unknown[]) => void)(require, dirname(process.execPath), process.execPath);
}

start();
