import type { ErrorCode } from "../errors.ts";
import type { SchemaPart, SqlValue, Statement } from "./sqlite.ts";

/** What the thread is started with. */
export interface WorkerOptions {
  readonly path: string;
  readonly schema: readonly SchemaPart[];
  readonly readOnly: boolean;
  /** Where the one executable puts its native addon; default beside the file. */
  readonly addonDir?: string | undefined;
}

/** A call on its way to the thread. Calls made in one turn of the event loop travel together, as an array. */
export type SqlRequest =
  | { readonly id: number; readonly kind: "write"; readonly statements: readonly Statement[] }
  | { readonly id: number; readonly kind: "query"; readonly sql: string; readonly params: readonly SqlValue[] };

/** A failure in a form that survives a structured clone; the other side makes a MillraceError of it. */
export interface SqlFailure {
  readonly code: ErrorCode;
  readonly message: string;
}

export type SqlAnswer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly failure: SqlFailure };

export type ToWorker =
  | { readonly kind: "requests"; readonly requests: readonly SqlRequest[] }
  | { readonly kind: "snapshot"; readonly id: number; readonly to: string }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "opened" }
  | { readonly kind: "refused"; readonly failure: SqlFailure }
  | { readonly kind: "answers"; readonly answers: readonly SqlAnswer[] };
