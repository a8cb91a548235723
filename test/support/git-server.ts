import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { tempDir } from "./temp-dir.ts";

/** Repositories behind a real `git http-backend`, on a port of the test's own. */
export interface GitServer {
  /** Of the server, without a path. */
  readonly origin: string;
  /** Holds the repositories. */
  readonly folder: string;
  /** `Authorization` headers and paths of the requests so far. */
  readonly requests: { readonly path: string; readonly authorization: string | undefined }[];
  /** Makes an empty bare repository. */
  create(name: string, ...flags: string[]): PushedRepository;
  /** While it is set, requests wait until the function's promise resolves. */
  hold(until: (() => Promise<void>) | undefined): void;
  close(): Promise<void>;
}

/** A repository on the server with a working copy from which the test pushes. */
export interface PushedRepository {
  readonly url: string;
  /** The bare one. */
  readonly path: string;
  /** The working copy. */
  readonly work: string;
  /** Runs git in the working copy and gives what it printed. */
  git(...args: string[]): string;
  /** Writes files (null removes one), commits and pushes; gives the commit. */
  push(files: Readonly<Record<string, string | null>>, options?: PushOptions): string;
}

export interface PushOptions {
  readonly message?: string;
  readonly branch?: string;
  /** `Name <address>`. */
  readonly author?: string;
}

/** Nobody's settings but the test's. */
const environment = {
  ...process.env,
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_AUTHOR_NAME: "Ann Author",
  GIT_AUTHOR_EMAIL: "ann@example.org",
  GIT_COMMITTER_NAME: "Ann Author",
  GIT_COMMITTER_EMAIL: "ann@example.org",
};

/** Runs git with nobody's settings. */
export function runGit(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd, env: environment, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

export interface GitServerOptions {
  /** `user:password` without which it answers 401. */
  readonly credentials?: string;
}

/** Starts it; it ends with the test, unless that is done before by `close`. */
export async function startGitServer({ credentials }: GitServerOptions = {}): Promise<GitServer> {
  const folder = tempDir();
  const requests: { path: string; authorization: string | undefined }[] = [];
  let held: (() => Promise<void>) | undefined;
  const expected = credentials && `Basic ${Buffer.from(credentials).toString("base64")}`;
  const server = createServer((request, response) => {
    const { authorization } = request.headers;
    requests.push({ path: request.url ?? "", authorization });
    const serve = async () => {
      await held?.();
      if (expected !== undefined && authorization !== expected) {
        response.writeHead(401, { "WWW-Authenticate": 'Basic realm="git"' }).end();
      } else runBackend(folder, request, response);
    };
    serve().catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => void server.close(() => resolve()));
  };
  onTestFinished(close);
  return {
    ...{ origin, folder, requests, close },
    hold(until) {
      held = until;
    },
    create: (name, ...flags) => createRepository({ folder, origin }, name, flags),
  };
}

/** A repository in a folder, to which the test pushes by path, and which others read by way of `origin`. */
export function createRepository(
  { folder, origin }: { readonly folder: string; readonly origin: string },
  name: string,
  flags: readonly string[] = [],
): PushedRepository {
  const path = join(folder, name);
  runGit(folder, "init", "--quiet", "--bare", "--initial-branch=main", ...flags, path);
  runGit(path, "config", "http.receivepack", "true");
  const work = tempDir();
  runGit(work, "init", "--quiet", "--initial-branch=main", ...flags);
  const git = (...args: string[]) => runGit(work, ...args);
  return {
    ...{ url: `${origin}/${name}`, path, work, git },
    push(files, { message = "change", branch = "main", author } = {}) {
      for (const [file, content] of Object.entries(files)) {
        mkdirSync(dirname(join(work, file)), { recursive: true });
        if (content === null) rmSync(join(work, file));
        else writeFileSync(join(work, file), content);
      }
      git("add", "--all");
      const by = author === undefined ? [] : [`--author=${author}`];
      git("commit", "--quiet", "--allow-empty", "-m", message, ...by);
      git("push", "--quiet", "--force", path, `HEAD:refs/heads/${branch}`);
      return git("rev-parse", "HEAD").trim();
    },
  };
}

/** One request, by the CGI of git. */
function runBackend(folder: string, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, search } = new URL(request.url ?? "/", "http://server");
  const { "content-type": type = "", "content-encoding": encoding = "", "git-protocol": protocol } = request.headers;
  const child = spawn("git", ["http-backend"], {
    env: {
      ...environment,
      GIT_PROJECT_ROOT: folder,
      GIT_HTTP_EXPORT_ALL: "1",
      REMOTE_USER: "test",
      REQUEST_METHOD: request.method ?? "GET",
      PATH_INFO: decodeURIComponent(pathname),
      QUERY_STRING: search.slice(1),
      CONTENT_TYPE: type,
      HTTP_CONTENT_ENCODING: encoding,
      ...(protocol === undefined ? {} : { GIT_PROTOCOL: String(protocol) }),
      ...(request.headers["content-length"] === undefined ? {} : { CONTENT_LENGTH: request.headers["content-length"] }),
    },
    stdio: ["pipe", "pipe", "inherit"],
  });
  request.pipe(child.stdin);
  child.stdin.on("error", () => {}); // it has answered without reading all
  response.on("close", () => child.kill("SIGKILL"));
  let head = Buffer.alloc(0);
  const onHead = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return;
    child.stdout.off("data", onHead);
    for (const line of head.toString("latin1", 0, end).split("\r\n")) {
      const [name = "", value = ""] = line.split(/: (.*)/s);
      if (name.toLowerCase() === "status") response.statusCode = Number.parseInt(value, 10);
      else response.setHeader(name, value);
    }
    response.write(head.subarray(end + 4));
    child.stdout.pipe(response);
  };
  child.stdout.on("data", onHead);
}
