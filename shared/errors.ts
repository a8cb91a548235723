import { Code as ConnectCode, ConnectError, type ConnectError as ConnectErrorType } from "@connectrpc/connect";

/** The closed set of error codes: gRPC's names, so that an error keeps its meaning across every border. */
export type ErrorCode =
  | "canceled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "permission_denied"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss"
  | "unauthenticated";

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

const connectNames = new Map<ConnectCode, ErrorCode>([
  [ConnectCode.Canceled, "canceled"],
  [ConnectCode.Unknown, "unknown"],
  [ConnectCode.InvalidArgument, "invalid_argument"],
  [ConnectCode.DeadlineExceeded, "deadline_exceeded"],
  [ConnectCode.NotFound, "not_found"],
  [ConnectCode.AlreadyExists, "already_exists"],
  [ConnectCode.PermissionDenied, "permission_denied"],
  [ConnectCode.ResourceExhausted, "resource_exhausted"],
  [ConnectCode.FailedPrecondition, "failed_precondition"],
  [ConnectCode.Aborted, "aborted"],
  [ConnectCode.OutOfRange, "out_of_range"],
  [ConnectCode.Unimplemented, "unimplemented"],
  [ConnectCode.Internal, "internal"],
  [ConnectCode.Unavailable, "unavailable"],
  [ConnectCode.DataLoss, "data_loss"],
  [ConnectCode.Unauthenticated, "unauthenticated"],
]);
const connectCodes = new Map([...connectNames].map(([code, name]) => [name, code]));

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
  if (error instanceof ConnectError) {
    const details = error.details.filter((detail): detail is ErrorDetail => "desc" in detail);
    return new MillraceError(connectNames.get(error.code) ?? "unknown", prefix + error.rawMessage, {
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

/** The form in which an error crosses RPC. */
export function toConnectError(error: unknown): ConnectErrorType {
  if (error instanceof ConnectError) return error;
  const known = from(error);
  const code = connectCodes.get(known.code) ?? ConnectCode.Unknown;
  return new ConnectError(known.message, code, undefined, [...known.details], known);
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
  for (let cause = error; cause instanceof Error; cause = cause.cause) if (cause instanceof ConnectError) return true;
  return false;
}

/** Whether trying the same call again can help. Decides on the code alone. */
export function isTransient(error: unknown): boolean {
  const { code } = from(error);
  return code === "unavailable" || code === "deadline_exceeded" || code === "aborted";
}
