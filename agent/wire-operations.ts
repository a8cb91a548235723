import type { Cas } from "../shared/cas/cas.ts";
import type { Clock } from "../shared/clock.ts";
import type { MillraceError } from "../shared/errors.ts";
import type { Sqlite } from "../shared/sqlite/sqlite.ts";
import { loggingExecutor } from "./executor/logging-executor.ts";
import { readingExecutor } from "./executor/reading-executor.ts";
import type { LogStreamer } from "./logs/log-streamer.ts";
import type { DeployStep } from "./operations/deploy-state.ts";
import { sqliteJournal } from "./operations/journal.ts";
import { operatingExecutor } from "./operations/operating-executor.ts";
import { patientJournal } from "./operations/patient-journal.ts";
import type { Patiently } from "./retry.ts";
import { type LocalStore, type LocalStoreOptions, localStore } from "./store/local-store.ts";
import { meteredFarm } from "./store/metered-farm.ts";
import { openUnits } from "./units/units.ts";

/** What the parts of an agent on its own machine stand on. */
export interface MachineParts {
  /** Below the agent's data folder. */
  readonly folder: (name: string) => string;
  readonly database: Sqlite;
  readonly farm: Cas;
  readonly patiently: Patiently;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
  /** Takes what is to be closed. */
  readonly opened: AsyncDisposableStack;
}

export interface OperationParts extends MachineParts {
  readonly logs: LogStreamer;
  readonly shelf: Omit<LocalStoreOptions, "farm">;
  readonly store: LocalStore;
  readonly onStep: (executionId: string, step: DeployStep) => void;
  readonly unitsEnd: () => boolean;
  readonly ending: AbortSignal;
}

/** Operations on the host itself, with their journal and the units that they leave running. */
export async function wireOperations({
  database,
  folder,
  farm,
  patiently,
  clock,
  onError,
  opened,
  ...parts
}: OperationParts) {
  const { logs, shelf, store, onStep, unitsEnd, ending } = parts;
  const journal = patientJournal(sqliteJournal(database), { clock, signal: ending, onWait: onError });
  const units = await openUnits({ database, folder: folder("units"), clock, onError });
  opened.defer(() => units.close(unitsEnd()));
  const storeOf = (onFetched: (sizeBytes: number) => void) =>
    localStore({ ...shelf, farm: meteredFarm(farm, onFetched) });
  const hosting = { folder: folder("environments"), clock, onStep, onError };
  const operate = readingExecutor(operatingExecutor({ journal, units, storeOf, ...hosting }), store);
  const lasting = { folder: folder("operations"), durable: { onRefused: onError }, ending };
  return { journal, operation: loggingExecutor(operate, { logs, farm, patiently, ...lasting }) };
}
