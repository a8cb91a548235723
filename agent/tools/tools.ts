import { basename } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type FoundTool, findTool, probeTool, stampOf, usualTools } from "./probe-tool.ts";

/** The tools of this machine, known by fingerprints that are kept up to date. */
export interface Tools {
  /** As they were found last, by name. */
  list(): readonly FoundTool[];
  /** Whether this tool is, at this moment, the one with this fingerprint. */
  isCurrent(name: string, fingerprint: string): boolean;
  close(): void;
}

export interface ToolsOptions {
  /** Names of tools to look for beside the usual ones, or their files. */
  readonly named: readonly string[];
  /** The Node that the agent runs on; it is not looked for. */
  readonly own?: FoundTool | undefined;
  /** The usual ones are not looked for. */
  readonly onlyNamed?: boolean;
  /** As tasks have it. */
  readonly path: string;
  readonly clock: Clock;
  /** Some tool has come, gone or changed. */
  readonly onChange: () => void;
  readonly onError: (error: MillraceError) => void;
}

/** Looks for the tools, and then again whenever one of their files is another one than before. */
export async function openTools(options: ToolsOptions): Promise<Tools> {
  const { named, own, onlyNamed = false, path, clock, onChange, onError } = options;
  const names = [...new Set([...(onlyNamed ? [] : usualTools), ...named.map((tool) => basename(tool))])];
  let found = await probeAll();
  let cancel = clock.after(limits.toolCheckMs, check);
  let closed = false;

  async function probeAll(): Promise<ReadonlyMap<string, FoundTool>> {
    const all = await Promise.all(names.map((name) => probeTool(name, path)));
    return new Map(all.flatMap((tool) => (tool === undefined ? [] : [[tool.name, tool]])));
  }

  /** What the file system says of a tool now; undefined when it is not there. */
  function stampNow(name: string): string | undefined {
    const file = findTool(name, path);
    return file === undefined ? undefined : stampOf(file);
  }

  function check(): void {
    const changed = names.some((name) => stampNow(name) !== found.get(name)?.stamp);
    const work = changed ? probeAll().then(take) : Promise.resolve();
    void work
      .catch((error: unknown) => onError(from(error, "looking for tools")))
      .finally(() => {
        if (!closed) cancel = clock.after(limits.toolCheckMs, check);
      });
  }

  function take(tools: ReadonlyMap<string, FoundTool>): void {
    found = tools;
    if (!closed) onChange();
  }

  return {
    list: () => [...found.values(), ...(own === undefined ? [] : [own])],
    isCurrent(name, fingerprint) {
      if (name === own?.name) return own.fingerprint === fingerprint && stampOf(own.path) === own.stamp;
      const tool = found.get(name);
      return tool !== undefined && tool.fingerprint === fingerprint && stampNow(name) === tool.stamp;
    },
    close() {
      closed = true;
      cancel();
    },
  };
}
