import { parseRepository } from "../../shared/source/repository.ts";
import { Refused } from "../executor/executor.ts";
import type { Access } from "./access.ts";
import { type SshAccessOptions, sshAccess } from "./ssh-access.ts";

export interface AccessOptions extends SshAccessOptions {
  readonly url: string;
  /** `user:password` (or `user:token`) for http and https, a private key for ssh; undefined: everybody may read it. */
  readonly credentials: string | undefined;
}

/**
 * Prepares what git shows to the remote, and for ssh what the remote must show.
 * @throws Refused, without the credentials in its message, when they do not fit the address
 */
export function repositoryAccess({ url, credentials, ...ssh }: AccessOptions): Access {
  switch (parseRepository(url).kind) {
    case "path":
      return accessOf({});
    case "http":
      return accessOf(credentials === undefined ? {} : headerOf(url, credentials.trim()));
    case "ssh":
      return sshAccess({ credentials, ...ssh });
  }
}

function accessOf(environment: Access["environment"]): Access {
  return { environment, async [Symbol.asyncDispose]() {} };
}

/** A header, with which no redirect is followed. */
function headerOf(url: string, credentials: string): Access["environment"] {
  if (!credentials.includes(":")) throw new Refused("the credentials of the repository are not user:password");
  return {
    GIT_CONFIG_COUNT: "2",
    GIT_CONFIG_KEY_0: `http.${new URL(url).origin}/.extraHeader`,
    GIT_CONFIG_VALUE_0: `Authorization: Basic ${Buffer.from(credentials).toString("base64")}`,
    // Git would go on at the other server with the header of the first.
    GIT_CONFIG_KEY_1: "http.followRedirects",
    GIT_CONFIG_VALUE_1: "false",
  };
}
