import { MillraceError } from "../../shared/errors.ts";
import type { Principal } from "../delivery/access/principal.ts";
import type { ExpiredToken, Tokens } from "../delivery/access/tokens.ts";
import type { EnrolmentTokens } from "../farm/agents/enrolments.ts";

export interface AuthenticateDeps {
  readonly tokens: Pick<Tokens, "authenticate" | "expired">;
  readonly enrolmentTokens: Pick<EnrolmentTokens, "identify">;
}

/**
 * Says whose secret a bearer is: a token of a person, one that lets agents in, or an agent's own.
 * @throws MillraceError unauthenticated, with the reason where there is one to be known
 */
export function authenticator({ tokens, enrolmentTokens }: AuthenticateDeps): (secret: string) => Principal {
  return (secret) => {
    const known = tokens.authenticate(secret);
    if (known !== undefined) return known;
    const expired = tokens.expired(secret);
    if (expired !== undefined) throw new MillraceError("unauthenticated", describeExpired(expired));
    const bearer = enrolmentTokens.identify(secret);
    switch (bearer?.kind) {
      case undefined:
        throw new MillraceError("unauthenticated", "the token is not known here");
      case "agent":
        return { name: `agent:${bearer.id}`, role: "agent", agentId: bearer.id };
      case "token":
        return { name: `token:${bearer.name}`, role: "enrolment", enrolmentToken: bearer.name };
      case "removed":
        throw new MillraceError(
          "unauthenticated",
          `the agent "${bearer.id}" was removed from this farm at ${new Date(bearer.removedMs).toISOString()}: to come back ` +
            "it needs a new token (`millrace token create --role agent`)",
        );
    }
  };
}

/** When it ended, and how to get one that is like it. */
function describeExpired({ name, user, role, projects = [], expiresMs }: ExpiredToken): string {
  const options = [`--role ${role}`, ...(user === undefined ? [] : [`--user ${user}`])];
  options.push(...projects.map((project) => `--project ${project}`));
  const what = `the token "${name}"${user === undefined ? "" : ` of ${user}`}`;
  const again = `an admin makes another one with \`millrace token create ${options.join(" ")}\``;
  return `${what} expired at ${new Date(expiresMs).toISOString()}; ${again}`;
}
