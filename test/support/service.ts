import { project, type TestFarm } from "./farm.ts";
import { processesAbout } from "./process-state.ts";

/** A service that answers with its version; its probe fails when the version is `bad`. */
export function service(port: number, version: string, startMs = 0): string {
  return project({
    "millrace.yaml": `name: service
stages:
  build:
    tasks:
      bundle: { run: "mkdir dist; cp serve-${port}.mjs dist/", outputs: { app: dist } }
  production:
    needs: [build]
    deploy:
      environment: local
      use: [app]
      start: node serve-${port}.mjs
      probe: { http: "http://127.0.0.1:${port}/health", timeout: ${version === "bad" ? "1s" : "30s"} }
`,
    [`serve-${port}.mjs`]: `import { createServer } from "node:http";
setTimeout(() => createServer((request, response) => {
  if (request.url === "/health" && "${version}" === "bad") response.writeHead(500);
  response.end("${version}");
}).listen(${port}, "127.0.0.1"), ${startMs});
`,
  });
}

/** The version that is served now. */
export const served = async (port: number) => await (await fetch(`http://127.0.0.1:${port}/`)).text();
/** The environment `local` as it is printed. */
export interface EnvironmentJson {
  readonly agent: string;
  readonly apps: readonly {
    release: string;
    run: string;
    healthy: boolean;
    last: { run: string; wentBack: boolean };
  }[];
}

/** What `env show local --json` says. */
export async function environment(farm: TestFarm): Promise<EnvironmentJson> {
  const { stdout } = await farm.cli(["env", "show", "local", "--json"]);
  return JSON.parse(stdout) as EnvironmentJson;
}

/** Processes that serve on this port. */
export function servers(port: number): string[] {
  return processesAbout(`node serve-${port}.mjs`).flatMap(({ command }) =>
    command.startsWith("node") ? [command] : [],
  );
}
