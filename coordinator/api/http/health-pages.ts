import type { HttpPage } from "./http-server.ts";

/** `/healthz`: the process lives. `/readyz`: it takes work; 503 from the moment it begins to stop. */
export function healthPages(stopping: AbortSignal): HttpPage[] {
  const page = (path: string, healthy: () => boolean): HttpPage => ({
    path,
    async respond(_request, response) {
      const ok = healthy();
      response.writeHead(ok ? 200 : 503, { "content-type": "text/plain" }).end(ok ? "ok\n" : "stopping\n");
    },
  });
  return [page("/healthz", () => true), page("/readyz", () => !stopping.aborted)];
}
