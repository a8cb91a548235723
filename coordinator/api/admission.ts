import { MillraceError } from "../../shared/errors.ts";
import { type Principal, reaches } from "../delivery/access/principal.ts";
import { hasRight, type Right, rolesWith } from "../delivery/access/rights.ts";
import type { Access, Subject } from "./access.ts";

/** Where things belong. Each resolves with undefined for what is not there (any more). */
export interface Belongings {
  projectOfRun(run: string): Promise<string | undefined>;
  projectOfEnvironment(environment: string): Promise<string | undefined>;
}

/** What is asked of the guard. */
export interface Asked {
  readonly principal: Principal;
  readonly access: Access;
  /** Without its service, for messages. */
  readonly method: string;
}

/** @throws MillraceError permission_denied when the role does not have the right. Says nothing of projects. */
export function requireRight({ principal, method }: Omit<Asked, "access">, right: Right): void {
  if (hasRight(principal.role, right)) return;
  throw new MillraceError(
    "permission_denied",
    `${principal.name} has the role ${principal.role}; ${method} needs ${rolesWith(right).join(" or ")}`,
  );
}

/**
 * Lets a request pass, or says why not. Resolves with the project that it is about; empty when it is about none or several.
 * What is not there is looked for only where that matters: a caller who is bound to projects is told the same of a run
 * that is not there and of one that is made in the same moment in a project of others.
 * @throws MillraceError permission_denied, or not_found
 */
export async function admit(asked: Asked, request: unknown, belongings: Belongings): Promise<string> {
  const { principal, access, method } = asked;
  const also = access.alsoOf(request);
  if (also !== undefined) requireRight(asked, also);
  const subject = access.subjectOf(request);
  if (principal.projects === undefined && !access.audited) return "";
  const project = await projectOf(subject, belongings);
  if (principal.projects === undefined) return project ?? "";
  if (subject.kind === "any") return "";
  if (subject.kind === "farm") {
    throw new MillraceError(
      "permission_denied",
      `${method} is about the whole farm, and this token of ${principal.name} is for ${principal.projects.join(", ")} alone`,
    );
  }
  if (project === undefined) throw new MillraceError("not_found", `there is no ${subject.kind} "${subject.name}"`);
  if (reaches(principal, project)) return project;
  throw new MillraceError(
    "permission_denied",
    `the ${subject.kind} ${subject.name} is not for this token of ${principal.name}, which is for ${principal.projects.join(", ")} alone`,
  );
}

/** Of which project a request that is refused was, for the record; empty when that is not to be found out. */
export async function projectOfRequest(access: Access, request: unknown, belongings: Belongings): Promise<string> {
  const project = await projectOf(access.subjectOf(request), belongings).catch(() => undefined); // the refusal counts
  return project ?? "";
}

async function projectOf(subject: Subject, belongings: Belongings): Promise<string | undefined> {
  switch (subject.kind) {
    case "project":
      return subject.name;
    case "run":
      return await belongings.projectOfRun(subject.name);
    case "environment":
      return await belongings.projectOfEnvironment(subject.name);
    case "farm":
    case "any":
      return undefined;
  }
}
