import { MillraceError } from "../../../shared/errors.ts";
import type { Admission, Enrolment, EnrolmentToken, NewAgent } from "./enrolments.ts";

/** What is known when an agent asks to be let in. */
export interface EnrolmentCase {
  readonly agent: NewAgent;
  readonly admission: Admission;
  /** That of the admission, where it lets in one agent alone; undefined when it was revoked meanwhile. */
  readonly token: EnrolmentToken | undefined;
  /** Who has the id now. */
  readonly held: HeldEnrolment | undefined;
  /** The other agent that has one of the keys. */
  readonly twin: string | undefined;
  readonly nowMs: number;
}

/** An enrolment, and by which kind of token it came about. */
export interface HeldEnrolment extends Enrolment {
  readonly admittedBy: Admission["kind"];
}

/**
 * Whether an agent is let in: `again` when it was before, with the same keys, and nothing changes.
 * @throws MillraceError with the reason and the way out, as `Enrolments.enrol` says
 */
export function decideEnrolment(question: EnrolmentCase): "new" | "again" {
  const { agent, admission, token, held, twin } = question;
  if (admission.kind === "once" && token === undefined) {
    throw new MillraceError("unauthenticated", `the enrolment token ${admission.token} was revoked; ${askForAnother}`);
  }
  if (token?.usedBy !== undefined && token.usedBy !== agent.id) throw used(token, token.usedBy);
  if (held !== undefined && hasKeys(held, agent)) return "again";
  if (token?.usedBy !== undefined) throw used(token, token.usedBy);
  if (token !== undefined && question.nowMs >= token.expiresMs) {
    const when = new Date(token.expiresMs).toISOString();
    throw new MillraceError(
      "unauthenticated",
      `the enrolment token ${token.name} expired at ${when}; ${askForAnother}`,
    );
  }
  if (twin !== undefined) {
    throw new MillraceError(
      "already_exists",
      `these are the keys of the agent "${twin}": a data folder was copied. Start ${agent.id} with an empty one`,
    );
  }
  if (held !== undefined && !mayReplace(held, admission)) throw taken(held);
  return "new";
}

const askForAnother = "an admin makes another one with `millrace token create --role agent`";

function hasKeys(held: Enrolment, agent: NewAgent): boolean {
  return held.publicKey === agent.publicKey && held.secretSha256 === agent.secretSha256;
}

/** A token of the farm's own gives an id anew that it gave before: else a lost folder would keep `up` from starting. */
function mayReplace({ admittedBy }: HeldEnrolment, admission: Admission): boolean {
  return admission.kind === "always" && admission.mayReplace && admittedBy === "always";
}

function used({ name }: EnrolmentToken, by: string): MillraceError {
  return new MillraceError(
    "permission_denied",
    `the enrolment token ${name} has let in the agent "${by}", and a token does so once; ${askForAnother}`,
  );
}

function taken({ id, hostname, enrolledMs }: Enrolment): MillraceError {
  return new MillraceError(
    "already_exists",
    `there is an agent "${id}" already: enrolled from ${hostname} at ${new Date(enrolledMs).toISOString()}. Choose another ` +
      `id with --name, or have the old one removed first (\`millrace agents remove ${id}\`)`,
  );
}
