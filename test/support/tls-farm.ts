import { once } from "node:events";
import { createServer } from "node:https";
import type { Server } from "node:net";
import { onTestFinished } from "vitest";
import { openAuthority } from "../../shared/tls/authority.ts";
import { tempDir } from "./temp-dir.ts";

/** A farm's own CA in a folder of its own, with a certificate for names that are not those of this machine. */
export async function testAuthority() {
  return openAuthority({ folder: tempDir(), names: ["farm.example.org", "192.0.2.1"], nowMs: Date.now() });
}

/** An HTTPS server on loopback that answers every request with "served"; gone after the test. */
export async function httpsServer(tls: { readonly certPem: string; readonly keyPem: string }): Promise<number> {
  const server = createServer({ cert: tls.certPem, key: tls.keyPem }, (_request, response) => response.end("served"));
  return listening(server);
}

export async function listening(server: Server): Promise<number> {
  const open = new Set<{ destroy(): void }>();
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    server.close();
    for (const socket of open) socket.destroy();
    await once(server, "close");
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
