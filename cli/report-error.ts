import { BadRequestSchema } from "../proto/gen/google/rpc/error_details_pb.ts";
import { from, isRemote, type MillraceError } from "../shared/errors.ts";
import { detailsOf } from "../shared/rpc/error-details.ts";

/** What a person reads when a command fails: the message, what exactly is wrong, what to do next. Never a stack. */
export function describeError(thrown: unknown): string {
  const error = from(thrown);
  const lines = [`millrace: ${error.message}`];
  for (const { field, description } of violationsOf(error)) {
    if (field !== "" && error.message.includes(`${field}: `)) continue; // the message says it already
    lines.push(`  ${field === "" ? "" : `${field}: `}${description}`);
  }
  const advice = adviceFor(error);
  if (advice !== undefined) lines.push(advice);
  return `${lines.join("\n")}\n`;
}

/** The google.rpc.BadRequest that a server sent along, as far as there is one. */
export function violationsOf(error: MillraceError): { field: string; description: string }[] {
  return detailsOf(error, BadRequestSchema).flatMap((detail) => detail.fieldViolations);
}

function adviceFor(error: MillraceError): string | undefined {
  if (!isRemote(error)) return undefined;
  switch (error.code) {
    case "unavailable":
      return "Is the coordinator running? Start one with `millrace up --detach`, or name another with --address.";
    case "unauthenticated":
      return "The token was not accepted: give --token or MILLRACE_TOKEN, or start `millrace up` again, which renews the stored one.";
    case "permission_denied":
      return "The message above says which role it takes, or which projects this token is for; an admin gives tokens with `millrace token create`.";
    case "unimplemented":
      return "The coordinator does not know this call: its version is older than this command's.";
    default:
      return undefined;
  }
}
