import type { BranchCommit } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { ImportState } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { RunSource } from "./run-source.ts";

/** A commit to be brought into the CAS. */
export interface ImportRequest {
  /** As in SourceImport. */
  readonly url: string;
  readonly ref: string;
  readonly previous: readonly BranchCommit[];
  readonly whole: boolean;
  /** Whose repository it is. */
  readonly project: string;
  /** The secret of the project that opens it; empty: none is needed. */
  readonly credentialsSecret: string;
  /** As in Project. */
  readonly knownHosts: string;
  readonly trustFirstHostKey: boolean;
}

/** Told how far an import is; the state may be told again with another detail. */
export type OnImportProgress = (state: ImportState, detail: string) => void;

/** Has agents import sources. May be called concurrently. */
export interface SourceImports {
  /**
   * Resolves when the tree is in the CAS. Throws `invalid_argument` with the reason for what no agent can import,
   * `failed_precondition` when the repository cannot be reached or agents were lost, both after several tries,
   * `resource_exhausted` when too many imports wait, and when the signal aborts, with which the import ends.
   */
  import(request: ImportRequest, signal: AbortSignal, onProgress: OnImportProgress): Promise<RunSource>;
}

const idPrefix = "import.";

/** The id of an import as an execution. */
export function importId(unique: string): string {
  return `${idPrefix}${unique}`;
}

/** Whether an execution is an import: it has no log. */
export function isImport(executionId: string): boolean {
  return executionId.startsWith(idPrefix);
}
