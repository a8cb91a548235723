import type { ConnectError } from "@connectrpc/connect";

/** gRPC's names, in the order of its numbers, which begin at 1 (https://grpc.io/docs/guides/status-codes/). */
export const errorCodes = [
  "canceled",
  "unknown",
  "invalid_argument",
  "deadline_exceeded",
  "not_found",
  "already_exists",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
  "aborted",
  "out_of_range",
  "unimplemented",
  "internal",
  "unavailable",
  "data_loss",
  "unauthenticated",
] as const;

/** The closed set of error codes: gRPC's, so that an error keeps its meaning across every border. */
export type ErrorCode = (typeof errorCodes)[number];

/** A google.rpc message that travels with an error, as Connect takes it. */
export type ErrorDetail = NonNullable<ConstructorParameters<typeof ConnectError>[3]>[number];

export interface MillraceErrorOptions {
  readonly cause?: unknown;
  /** google.rpc messages (BadRequest, PreconditionFailure, RetryInfo). */
  readonly details?: readonly ErrorDetail[];
}

/**
 * The one error class. The message says what was being done, to which id, and what to do next; `code` decides what
 * callers do about it (never the text). Expected outcomes (a cache miss, a failed task) are values, not errors.
 */
export class MillraceError extends Error {
  override readonly name = "MillraceError";
  readonly code: ErrorCode;
  readonly details: readonly ErrorDetail[];

  constructor(code: ErrorCode, message: string, options: MillraceErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? [];
  }
}

/** Node's `error.code` values whose meaning is the same everywhere. */
const systemCodes = new Map<string, ErrorCode>([
  ["ENOENT", "not_found"],
  ["EEXIST", "already_exists"],
  ["EISDIR", "invalid_argument"],
  ["ENOTDIR", "invalid_argument"],
  ["EACCES", "permission_denied"],
  ["EPERM", "permission_denied"],
  ["ENOSPC", "resource_exhausted"],
  ["EDQUOT", "resource_exhausted"],
  ["EMFILE", "resource_exhausted"],
  ["ECONNREFUSED", "unavailable"],
  ["ECONNRESET", "unavailable"],
  ["EPIPE", "unavailable"],
  ["ETIMEDOUT", "deadline_exceeded"],
]);

/**
 * Turns anything caught into a MillraceError, and is the only place that inspects foreign errors.
 * `doing` ("reading the manifest of run_12") becomes the prefix of the message; the code survives.
 */
export function from(error: unknown, doing?: string): MillraceError {
  const prefix = doing === undefined ? "" : `${doing}: `;
  if (error instanceof MillraceError) {
    if (doing === undefined) return error;
    return new MillraceError(error.code, prefix + error.message, { cause: error, details: error.details });
  }
  if (isConnectError(error)) {
    const details = error.details.filter((detail): detail is ErrorDetail => "desc" in detail);
    return new MillraceError(errorCodes[error.code - 1] ?? "unknown", prefix + error.rawMessage, {
      cause: error,
      details,
    });
  }
  if (error instanceof Error) {
    const aborted = error.name === "AbortError" || error.name === "TimeoutError";
    const abortCode = error.name === "AbortError" ? "canceled" : "deadline_exceeded";
    const system = "code" in error && typeof error.code === "string" ? systemCodes.get(error.code) : undefined;
    return new MillraceError(aborted ? abortCode : (system ?? "unknown"), prefix + error.message, { cause: error });
  }
  return new MillraceError("unknown", prefix + String(error), { cause: error });
}

/**
 * Whether it came over RPC. By its form, as Connect's own `instanceof` does it: everything imports this file, and would load
 * the library of a hundred files with it.
 */
export function isConnectError(error: unknown): error is ConnectError {
  return error instanceof Error && error.name === "ConnectError" && "rawMessage" in error && "metadata" in error;
}

/** Whether it was our own disk that had no room: a full disk on the other side of a call is that side's `resource_exhausted`. */
export function isDiskFull(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ("code" in cause && (cause.code === "ENOSPC" || cause.code === "EDQUOT")) return true;
  }
  return false;
}

/** Whether the other side of a call said so, and not we. */
export function isRemote(error: unknown): boolean {
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (isConnectError(cause)) return true;
  return false;
}

/** Whether trying the same call again can help. Decides on the code alone. */
export function isTransient(error: unknown): boolean {
  const { code } = from(error);
  return code === "unavailable" || code === "deadline_exceeded" || code === "aborted";
}
