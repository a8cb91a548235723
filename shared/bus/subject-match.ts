import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";

/** Whether a subscription's pattern covers a subject: `*` stands for one token, `>` at the end for one or more. */
export function subjectMatches(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, want] of wanted.entries()) {
    if (want === ">") return tokens.length > index;
    const token = tokens[index];
    if (token === undefined || (want !== "*" && want !== token)) return false;
  }
  return tokens.length === wanted.length;
}

/** @throws MillraceError invalid_argument when nothing can be sent to it: empty tokens, white space or wildcards. */
export function checkSubject(subject: string): void {
  if (!/^[^\s.*>]+(\.[^\s.*>]+)*$/.test(subject)) {
    throw new MillraceError("invalid_argument", `not a bus subject: "${subject}" (see shared/bus/subjects.ts)`);
  }
}

/** @throws MillraceError invalid_argument when the pattern is malformed. */
export function checkPattern(pattern: string): void {
  if (!/^(?:\*|[^\s.*>]+)(?:\.(?:\*|[^\s.*>]+))*(?:\.>)?$|^>$/.test(pattern)) {
    throw new MillraceError("invalid_argument", `not a bus subscription: "${pattern}" (see shared/bus/subjects.ts)`);
  }
}

/** @throws MillraceError invalid_argument when it is larger than any adapter carries. */
export function checkPayload(subject: string, data: Uint8Array): void {
  if (data.byteLength > limits.busMessageBytes) {
    throw new MillraceError(
      "invalid_argument",
      `a message of ${data.byteLength} bytes to ${subject}: the bus carries ${limits.busMessageBytes}, larger things go by digest`,
    );
  }
}
