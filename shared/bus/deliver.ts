import { from, type MillraceError } from "../errors.ts";
import type { BusMessage } from "./bus.ts";

export type BusHandler = (message: BusMessage) => void;

/** Runs a handler. One that throws is a defect of its owner and must not stop the reading of the connection. */
export function deliver(handler: BusHandler, message: BusMessage, onError: (error: MillraceError) => void): void {
  try {
    handler(message);
  } catch (error) {
    onError(from(error, `handling a message to ${message.subject}`));
  }
}
