import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { permissionsOf } from "./subjects.ts";

/** The users of a nats-server, as the file says them that its configuration includes. */
export interface NatsUsers {
  /** May do everything on the subjects of the farm. */
  readonly coordinator: { readonly user: string; readonly password: string };
  /** Each is held to its own subjects. */
  readonly agents: readonly { readonly agentId: string; readonly publicKey: string }[];
}

/**
 * The file's text. Nothing of it may come from outside unchecked: what breaks the syntax takes the whole bus down at the
 * next start, and what extends it gives rights.
 * @throws MillraceError invalid_argument for an id or a key that is none
 */
export function natsUsersText({ coordinator, agents }: NatsUsers): string {
  const replies = `allow_responses: { max: 1, expires: "${limits.busReplyMs}ms" }`;
  const lines = agents.map(({ agentId, publicKey }) => {
    requireAgentUser(agentId, publicKey);
    const { publish, subscribe } = permissionsOf(agentId);
    const rights = `publish: ${JSON.stringify(publish)}, subscribe: ${JSON.stringify(subscribe)}, ${replies}`;
    return `  { nkey: ${publicKey}, permissions: { ${rights} } }\n`;
  });
  const { user, password } = coordinator;
  const own = `  { user: ${JSON.stringify(user)}, password: ${JSON.stringify(password)} }\n`;
  return `# Written by Millrace whenever an agent is let in or removed; changes are lost.\nusers: [\n${own}${lines.join("")}]\n`;
}

function requireAgentUser(agentId: string, publicKey: string): void {
  if (/^[a-z0-9-]{1,64}$/.test(agentId) && /^U[A-Z2-7]{55}$/.test(publicKey)) return;
  throw new MillraceError("invalid_argument", `no user of the bus: agent "${agentId}" with the key "${publicKey}"`);
}
