import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseRepository } from "../../shared/source/repository.ts";
import { Refused } from "../executor/executor.ts";
import { sshKeyVariable } from "./git.ts";

/** What opens a repository, for as long as git needs it. */
export interface Access extends AsyncDisposable {
  /** Given to git and what it starts; in no argument, no address and no file but a key of the agent's own. */
  readonly environment: Readonly<Record<string, string>>;
}

/** For repositories that everybody may read. */
export const noAccess: Access = { environment: {}, async [Symbol.asyncDispose]() {} };

export interface AccessOptions {
  readonly url: string;
  /** `user:password` (or `user:token`) for http and https, a private key for ssh. */
  readonly credentials: string;
  /** Of the agent's own; holds the key of an ssh repository while it is used. */
  readonly folder: string;
}

/**
 * Prepares credentials for git. Of http they become a header, with which no redirect is followed; for ssh they become a
 * file that only we can read.
 * @throws Refused, without the credentials in its message, when they do not fit the address
 */
export function repositoryAccess({ url, credentials, folder }: AccessOptions): Access {
  const { kind } = parseRepository(url);
  if (kind === "path") return noAccess;
  if (kind === "http") {
    const text = credentials.trim();
    if (!text.includes(":")) throw new Refused("the credentials of the repository are not user:password");
    const header = `Authorization: Basic ${Buffer.from(text).toString("base64")}`;
    const environment = {
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: `http.${new URL(url).origin}/.extraHeader`,
      GIT_CONFIG_VALUE_0: header,
      // Git would go on at the other server with the header of the first.
      GIT_CONFIG_KEY_1: "http.followRedirects",
      GIT_CONFIG_VALUE_1: "false",
    };
    return { environment, async [Symbol.asyncDispose]() {} };
  }
  if (!credentials.includes("PRIVATE KEY-----")) {
    throw new Refused("the credentials of the repository are no private SSH key");
  }
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `key-${randomUUID()}`);
  writeFileSync(file, credentials.endsWith("\n") ? credentials : `${credentials}\n`, { mode: 0o600, flag: "wx" });
  return {
    environment: { [sshKeyVariable]: file },
    async [Symbol.asyncDispose]() {
      rmSync(file, { force: true });
    },
  };
}
