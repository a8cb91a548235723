import { MillraceError } from "../shared/errors.ts";

/** `12` and `run_12` mean the same run. @throws MillraceError invalid_argument for anything else. */
export function parseRunName(text: string): string {
  const number = /^(?:run_)?([1-9]\d{0,15})$/.exec(text)?.[1];
  if (number === undefined) {
    throw new MillraceError("invalid_argument", `"${text}" is not a run: give 12 or run_12 (see \`millrace runs\`)`);
  }
  return `run_${number}`;
}
