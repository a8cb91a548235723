/** How much a coordinator keeps: flags of `millrace coordinator`, which `millrace up` passes on. */
export const keepingFlags = [
  ["--cas-max-bytes <n>", "what the store of blobs may take on disk (default: unbounded, while the disk has room)"],
  ["--cas-idle <time>", "how long a blob stays after its last use at least (default: 3h)"],
  ["--keep-runs <count>", "finished runs kept of a project, or unbounded (default: 10000)"],
  ["--keep-runs-for <time>", "how long finished runs are kept, or unbounded (default: 180d)"],
  ["--keep-logs-for <time>", "how long their logs are kept, or unbounded (default: 90d)"],
  ["--keep-artifacts-for <time>", "how long their artifacts are kept, or unbounded (default: 30d)"],
  ["--keep-cache-for <time>", "how long what is unused stays in the cache, or unbounded (default: 30d)"],
  ["--keep-lost-agents-for <time>", "how long an agent that is lost stays enrolled, or unbounded (default: 30d)"],
] as const;

/** As a command line, of the options of a command that took the flags. */
export function keepingArgs(options: Readonly<Record<string, unknown>>): string[] {
  return keepingFlags.flatMap(([flag]) => {
    const [name = ""] = flag.split(" ");
    const value = options[name.slice(2).replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    return typeof value === "string" ? [name, value] : [];
  });
}
