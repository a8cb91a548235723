import { randomBytes } from "node:crypto";

/** https://www.w3.org/TR/trace-context/#traceparent-header, version 00. */
const traceparentForm = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The caller's trace context, or a new one: what follows from a request can then always be found together. */
export function traceparentOf(header: string | null): string {
  if (header !== null && traceparentForm.test(header)) return header;
  return `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`;
}
