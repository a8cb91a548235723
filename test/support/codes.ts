import { expect } from "vitest";
import { type ErrorCode, from, type MillraceError } from "../../shared/errors.ts";

/** Expects a failure of this code and gives it, so that its message can be looked at. */
export async function failure(code: ErrorCode, run: () => unknown): Promise<MillraceError> {
  let outcome: unknown;
  try {
    outcome = await run();
  } catch (error) {
    const known = from(error);
    expect(known.code, known.message).toBe(code);
    return known;
  }
  throw new Error(`expected ${code}, and got ${String(outcome)}`);
}
