import { createHash } from "node:crypto";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, expect, onTestFinished, test } from "vitest";
import { httpServer } from "../../../../coordinator/api/http/http-server.ts";
import { installPages } from "../../../../coordinator/api/http/install-pages.ts";
import { readInstaller } from "../../../../coordinator/api/install/own-files.ts";
import { filePrograms } from "../../../../coordinator/farm/agents/file-programs.ts";
import type { Programs } from "../../../../coordinator/farm/agents/programs.ts";
import { limits } from "../../../../shared/limits.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const name = "millrace-9.8.7-linux-x64";
const sum = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

async function serve({ own = false, slowly = async () => {} } = {}) {
  const folder = tempDir();
  const dist = join(folder, "dist");
  mkdirSync(dist);
  writeFileSync(join(folder, "secret"), "secret");
  // More than one piece.
  const bytes = Buffer.alloc(limits.streamChunkBytes * 3 + 5, "program");
  const file = join(own ? folder : dist, own ? "millrace" : name);
  writeFileSync(file, bytes);
  const ownFile = own ? { file, platform: "linux-x64" } : undefined;
  const programs = filePrograms({ dist, own: ownFile, version: "9.8.7" });
  const errors: Error[] = [];
  const server = httpServer({
    services: [],
    pages: installPages({ programs: slow(programs, slowly), installer: readInstaller(), grpcPort: () => 7070 }),
    onError: (error) => errors.push(error),
  });
  const port = await server.listen("127.0.0.1", 0);
  onTestFinished(() => server.close());
  const root = `http://127.0.0.1:${port}`;
  return { dist, file, bytes, port, root, errors, programs, get: (path: string) => fetch(root + path) };
}

/** Programs whose bytes do not come before something has happened. */
function slow(programs: Programs, until: () => Promise<void>): Programs {
  return {
    ...programs,
    async *read(program) {
      await until();
      yield* programs.read(program);
    },
  };
}

/** As it is written: `fetch` and `URL` would tidy it up. */
async function raw(port: number, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.write(request);
  return await text(socket);
}

describe("a program", () => {
  test("comes whole, with its digest, and not again to who has it", async () => {
    const { bytes, root, get } = await serve();
    const answer = await get(`/dist/${name}`);
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
    expect(answer.headers.get("content-length")).toBe(String(bytes.byteLength));
    expect(answer.headers.get("etag")).toBe(`"${sum(bytes)}"`);
    expect(await (await get(`/dist/${name}.sha256`)).text()).toBe(`${sum(bytes)}  ${name}\n`);
    const again = await fetch(`${root}/dist/${name}`, { headers: { "if-none-match": `"${sum(bytes)}"` } });
    expect(again.status).toBe(304);
    const head = await fetch(`${root}/dist/${name}`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect((await fetch(`${root}/dist/${name}`, { method: "POST" })).status).toBe(405);
  });

  test("is our own executable where we are the one file", async () => {
    const { bytes, get } = await serve({ own: true });
    expect(Buffer.from(await (await get(`/dist/${name}`)).arrayBuffer()).equals(bytes)).toBe(true);
  });

  test("that is built anew while we run is served from then on", async () => {
    const { dist, file, get } = await serve();
    await (await get(`/dist/${name}`)).arrayBuffer();
    writeFileSync(join(dist, "new"), "another");
    renameSync(join(dist, "new"), file);
    expect(await (await get(`/dist/${name}`)).text()).toBe("another");
  });

  test("that is not what its builder said is not served, and the reason is", async () => {
    const { file, get, programs } = await serve();
    writeFileSync(`${file}.sha256`, `${"0".repeat(64)}  ${name}\n`);
    for (const path of ["/install.sh", `/dist/${name}`]) {
      const answer = await get(path);
      expect([answer.status, await answer.text()]).toEqual([503, expect.stringContaining("npm run package")]);
    }
    await expect(programs.find("linux-x64")).rejects.toMatchObject({ code: "failed_precondition" });
  });

  test("that another has replaced since it was offered is not read as it", async () => {
    const { file, programs, dist } = await serve();
    const before = await programs.find("linux-x64");
    if (before === undefined) throw new Error("no program");
    writeFileSync(join(dist, "new"), "another");
    renameSync(join(dist, "new"), file);
    await expect(programs.read(before)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: "aborted" });
  });

  test.each([
    "/dist/",
    "/dist/secret",
    "/dist/../secret",
    "/dist/%2e%2e/secret",
    "/dist/..%2fsecret",
    "/dist//etc/passwd",
    `/dist/./${name}`,
    `/dist/x/../${name}`,
    `/dist/${name}%00`,
    `/dist/${name}.sha256/../../secret`,
  ])("is the only thing below /dist: nothing at %s", async (path) => {
    const { port } = await serve();
    const answer = await raw(port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 404 /);
    expect(answer).not.toContain("secret\n");
  });

  test("goes to so many at a time, and the next one is told to come again", async () => {
    const gate = Promise.withResolvers<void>();
    const { get } = await serve({ slowly: () => gate.promise });
    const waiting = Array.from({ length: limits.programDownloads }, () => get(`/dist/${name}`));
    await Promise.all(waiting); // the heads have come, which are sent before the bytes
    const refused = await get(`/dist/${name}`);
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("5");
    gate.resolve();
    for (const answer of await Promise.all(waiting)) await answer.arrayBuffer();
    expect((await get(`/dist/${name}`)).status).toBe(200);
  });
});

describe("the installer", () => {
  test("knows its coordinator by the Host header, and what there is", async () => {
    const { port, bytes, get } = await serve();
    const script = await (await get("/install.sh")).text();
    expect(script).toContain(`served_http='http://127.0.0.1:${port}'`);
    expect(script).toContain("served_coordinator='127.0.0.1:7070'");
    expect(script).toContain(`served_programs='linux-x64 ${name} ${sum(bytes)} 9.8.7'`);
  });

  test("says what to run when there is no program", async () => {
    const { file, get } = await serve();
    rmSync(file);
    const script = await (await get("/install.sh")).text();
    expect(script).toContain("served_programs=''");
    expect(script).toMatch(/served_advice='run `npm run package`/);
  });

  test.each(["a$(id)", "a`id`", "a';id;'", "a b", "a\tb", '"', "a:99999"])(
    "is not served to the host %j",
    async (host) => {
      const { port } = await serve();
      const answer = await raw(port, `GET /install.sh HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 400 /);
      expect(answer).not.toContain("served_http");
    },
  );
});
