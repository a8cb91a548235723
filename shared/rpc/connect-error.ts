import { type Code, ConnectError } from "@connectrpc/connect";
import { errorCodes, from, isConnectError } from "../errors.ts";

/** The form in which an error crosses RPC. */
export function toConnectError(error: unknown): ConnectError {
  if (isConnectError(error)) return error;
  const known = from(error);
  const code: Code = errorCodes.indexOf(known.code) + 1;
  return new ConnectError(known.message, code, undefined, [...known.details], known);
}
