import type { Problem } from "./pipeline.ts";

/** More of a sentence than a person reads; names and paths of usual length stand in it as they are. */
const charactersMax = 500;

/** What does not show, or does something to a terminal: controls, formats such as the right-to-left override, half characters. */
const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** A problem whose words may hold what the file says: cut where they are long, and with every character to be seen. */
export function readableProblem<T extends Pick<Problem, "message" | "hint" | "path">>(problem: T): T {
  const { message, hint, path } = problem;
  return {
    ...problem,
    message: readable(message),
    ...(hint === undefined ? {} : { hint: readable(hint) }),
    ...(path === undefined ? {} : { path: readable(path) }),
  };
}

function readable(text: string): string {
  const cut = text.length > charactersMax ? `${text.slice(0, charactersMax)}…` : text;
  return cut.replace(unseen, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}
