import { from, MillraceError } from "../shared/errors.ts";

/** What the words of gRPC for a call that found nobody mean to a person. */
const reasons: readonly (readonly [RegExp, string])[] = [
  [/ECONNREFUSED/, "the connection is refused"],
  [/Name resolution failed/, "no machine is known by that name"],
  [/Protocol error/, "what listens there does not speak gRPC, which has a port of its own"],
];

/** Says of a call that got no answer at all where it went, and why as far as that can be told. */
export function unreachable(address: string, error: unknown): MillraceError {
  const { code, message } = from(error);
  const reason = reasons.find(([pattern]) => pattern.test(message))?.[1] ?? message;
  return new MillraceError(code, `no coordinator answers at ${address}: ${reason}`, { cause: error });
}
