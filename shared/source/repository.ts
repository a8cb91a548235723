import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";

/** Where a repository is, as far as its address tells. */
export interface Repository {
  readonly kind: "http" | "ssh" | "path";
  readonly url: string;
}

/**
 * Reads the address of a repository: `https:`, `http:` and `ssh:` URLs, `user@host:path`, and absolute paths. git knows many
 * more forms, some of which start programs (`ext::`), and would take one that begins with `-` for an option: what is not one
 * of these is refused. Credentials have no place in it, since addresses are shown and kept.
 * @throws MillraceError invalid_argument saying what is wrong
 */
export function parseRepository(url: string): Repository {
  const refuse = (why: string): never => {
    throw new MillraceError("invalid_argument", `the repository ${JSON.stringify(cut(url))} ${why}`);
  };
  if (url === "") refuse("has no address");
  if (url.length > limits.repositoryUrlChars) refuse(`has more than ${limits.repositoryUrlChars} characters`);
  if (hasUnprintable(url)) refuse("has spaces or characters that cannot be printed; write them as %20 and the like");
  if (url.startsWith("/")) {
    if (url.split("/").includes("..")) refuse('has ".." in its path');
    return { kind: "path", url };
  }
  // As people copy it from their forge. Without a user it could be many things, and ssh would take that of the agent.
  if (/^[\w.+][\w.+-]*@([\w][\w.-]*|\[[\da-f:]+\]):[^-:]/i.test(url)) return { kind: "ssh", url };
  const kind = /^https?:\/\//.test(url) ? "http" : url.startsWith("ssh://") ? "ssh" : undefined;
  const parsed = kind === undefined ? undefined : URL.parse(url);
  if (kind === undefined || parsed === null || parsed === undefined) {
    return refuse("is no https:, http: or ssh: URL and no absolute path, and has not the form user@host:path");
  }
  if (parsed.password !== "" || (kind === "http" && parsed.username !== "")) {
    throw new MillraceError(
      "invalid_argument",
      `the repository on ${parsed.host} has credentials in its address, where everybody would see them: keep them in a secret of the project`,
    );
  }
  if (parsed.hostname === "" || decoded(parsed.hostname).startsWith("-") || decoded(parsed.username).startsWith("-")) {
    refuse("has no host that can be asked");
  }
  if (parsed.search !== "" || parsed.hash !== "") refuse("has a query or a fragment");
  return { kind, url };
}

/**
 * Checks lines of a known_hosts file: names of hosts, type and public key, with a marker or a comment where one is.
 * @throws MillraceError invalid_argument naming the line, and nothing of it: it may be a private key
 */
export function checkKnownHosts(text: string): void {
  const refuse = (why: string): never => {
    throw new MillraceError("invalid_argument", `${why}; ssh-keyscan HOST prints what is wanted`);
  };
  if (Buffer.byteLength(text) > limits.knownHostsBytes) refuse(`it is longer than ${limits.knownHostsBytes} bytes`);
  let keys = 0;
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#")) continue;
    const isKey = /^(@(cert-authority|revoked)[ \t]+)?[^\s@#]\S*[ \t]+[a-z][\w@.-]*[ \t]+[\w+/]+={0,3}([ \t].*)?$/.test(
      line,
    );
    if (!isKey) refuse(`line ${index + 1} is no host with its public key`);
    keys += 1;
  }
  if (keys === 0) refuse("no line of it is a host with its public key");
}

/** Whether the text is a whole object id: of SHA-1 or of SHA-256. */
export function isCommitId(ref: string): boolean {
  return /^([0-9a-f]{40}|[0-9a-f]{64})$/.test(ref);
}

/**
 * Checks the name of a branch, a tag or a commit, or a full name such as `refs/pull/7/head`, by git's own rules for refs:
 * what passes is neither an option nor a pattern nor an expression.
 * @throws MillraceError invalid_argument
 */
export function checkRef(ref: string): void {
  if (isRef(ref)) return;
  throw new MillraceError("invalid_argument", `${JSON.stringify(cut(ref))} is no name of a branch, a tag or a commit`);
}

/** What `checkRef` checks. */
export function isRef(ref: string): boolean {
  const isForbidden =
    ref.length > limits.refChars ||
    ref.startsWith("-") ||
    hasUnprintable(ref) ||
    /[~^:?*[\\]|\.\.|@\{|\/\/|^\/|\/$|\.$|^@$|(^|\/)\.|\.lock(\/|$)/.test(ref);
  return ref !== "" && !isForbidden;
}

/** Spaces, controls, and what git would show in another way. */
function hasUnprintable(text: string): boolean {
  return /[\s\p{C}]/u.test(text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // no escapes that anybody could follow
  }
}

function cut(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}

/** The address without user and password, for one that somebody else has written; other text stays as it is. */
export function withoutCredentials(url: string): string {
  const parsed = URL.parse(url);
  if (parsed === null || (parsed.username === "" && parsed.password === "")) return url;
  parsed.password = "";
  if (parsed.protocol !== "ssh:") parsed.username = "";
  return parsed.href;
}
