import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { type Program, type Programs, programPlatforms } from "../../farm/agents/programs.ts";
import { fillInstaller, parseHost } from "../install/installer.ts";
import type { HttpPage } from "./http-server.ts";

export interface InstallPagesOptions {
  readonly programs: Programs;
  /** The text of deploy/install.sh. */
  readonly installer: string;
  /** Known once the server listens. */
  readonly grpcPort: () => number;
  /** Certificate of the farm's own authority; undefined without TLS. */
  readonly caPem?: string | undefined;
}

/**
 * `/install.sh` and `/dist/<program>`, for machines that are to become agents. Neither asks for a token: the script and
 * the programs are the same for everybody and hold no secret. What an agent may do, its token says.
 */
export function installPages(options: InstallPagesOptions): HttpPage[] {
  const { programs, installer, grpcPort, caPem } = options;
  let downloads = 0;

  async function all(): Promise<Program[]> {
    const found = await Promise.all(programPlatforms.map((platform) => programs.find(platform)));
    return found.filter((program) => program !== undefined);
  }

  const pages: HttpPage[] = [
    {
      path: "/install.sh",
      async respond(request, response) {
        if (!isRead(request, response)) return;
        const scheme = "encrypted" in request.socket ? "https" : "http";
        const host = parseHost(request.headers.host, scheme === "https" ? 443 : 80);
        if (host === undefined) return answer(response, 400, "the Host header is no name or address of a host\n");
        const facts = { grpcPort: grpcPort(), caPem, programs: await all(), advice: programs.advice };
        const script = fillInstaller(installer, { http: { scheme, host }, ...facts });
        const headers = { "content-type": "text/x-shellscript; charset=utf-8", "cache-control": "no-store" };
        response.writeHead(200, headers).end(request.method === "HEAD" ? undefined : script);
      },
    },
    {
      path: "/dist/",
      async respond(request, response) {
        if (!isRead(request, response)) return;
        const wanted = (request.url ?? "").split("?", 1)[0]?.slice("/dist/".length);
        const program = (await all()).find(({ name }) => name === wanted || `${name}.sha256` === wanted);
        if (program === undefined) return answer(response, 404, `no such program; ${programs.advice}\n`);
        if (wanted !== program.name) return answer(response, 200, `${program.sha256}  ${program.name}\n`);
        if (downloads >= limits.programDownloads) {
          response.setHeader("retry-after", "5");
          return answer(response, 503, `${downloads} downloads are under way already; try again\n`);
        }
        downloads += 1;
        try {
          await send(program, programs, request, response);
        } finally {
          downloads -= 1;
        }
      },
    },
  ];
  return pages.map(sayingWhy);
}

/** A program that is not the one that was built is for its operator to mend: whoever asks hears it. */
function sayingWhy({ path, respond }: HttpPage): HttpPage {
  return {
    path,
    async respond(request, response) {
      try {
        await respond(request, response);
      } catch (error) {
        const { code, message } = from(error);
        if (code !== "failed_precondition" || response.headersSent) throw error;
        answer(response, 503, `${message}\n`);
      }
    },
  };
}

async function send(program: Program, programs: Programs, request: IncomingMessage, response: ServerResponse) {
  const etag = `"${program.sha256}"`;
  response.setHeader("etag", etag);
  response.setHeader("cache-control", "no-cache");
  if (request.headers["if-none-match"] === etag) return void response.writeHead(304).end();
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    "content-length": program.sizeBytes,
    "repr-digest": `sha-256=:${Buffer.from(program.sha256, "hex").toString("base64")}:`, // RFC 9530
  });
  if (request.method === "HEAD") return void response.end();
  response.flushHeaders(); // a disk may be slow: whoever waits sees that it comes
  // A reader that takes nothing for so long is gone, or holds a place for nothing.
  response.setTimeout(limits.programDownloadIdleMs, () => response.destroy());
  await pipeline(Readable.from(programs.read(program), { objectMode: false }), response);
}

function isRead({ method }: IncomingMessage, response: ServerResponse): boolean {
  if (method === "GET" || method === "HEAD") return true;
  response.setHeader("allow", "GET, HEAD");
  answer(response, 405, "only GET and HEAD\n");
  return false;
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(text);
}
