import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import {
  type ConcurrencyGroup,
  ConcurrencyGroupSchema,
  ConcurrencyPolicy,
  EndingKind,
  type RetryPolicySchema,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Concurrency, Retry, RetryCause, Task } from "./pipeline.ts";

/** What a planned task says of failures, groups, secrets and conditions; nothing of it is part of the key of its Action. */
export function policiesOf(task: Task) {
  const { retry, concurrency, allowFailure, secrets, generates = "" } = task;
  return {
    ...conditionsOf(task),
    ...(retry === undefined ? {} : { retry: retryMessage(retry) }),
    ...(concurrency === undefined ? {} : { concurrency: concurrencyMessage(concurrency) }),
    ...{ allowFailure, generates },
    secrets: secrets.map(({ secret, env, file }) => ({ secret, env, file })),
  };
}

/** When a planned task runs, and what of the file it was made from. */
export function conditionsOf({ always, when = "", conditionUnmet = "", madeFrom = "", variant }: Task) {
  return { always, when, conditionUnmet, madeFrom, variant };
}

export function concurrencyMessage({ group, limit, policy }: Concurrency): ConcurrencyGroup {
  const message = policy === "queue" ? ConcurrencyPolicy.QUEUE : ConcurrencyPolicy.CANCEL_SUPERSEDED;
  return create(ConcurrencyGroupSchema, { name: group, limit, policy: message });
}

const endingKinds: Readonly<Record<string, EndingKind>> = {
  timeout: EndingKind.TIMED_OUT,
  "out-of-memory": EndingKind.OUT_OF_MEMORY,
  "output-missing": EndingKind.OUTPUT_MISSING,
};

function retryMessage({ times, on, delayMs, infrastructure }: Retry): MessageInitShape<typeof RetryPolicySchema> {
  // To name any ending is to name none.
  const causes: readonly RetryCause[] = on.some((cause) => "ending" in cause && cause.ending === "any") ? [] : on;
  return {
    retries: times,
    exitCodes: causes.flatMap((cause) => ("exitCode" in cause ? [cause.exitCode] : [])),
    signals: causes.flatMap((cause) => ("signal" in cause ? [cause.signal] : [])),
    kinds: causes.flatMap((cause) => ("ending" in cause ? (endingKinds[cause.ending] ?? []) : [])),
    delay: durationFromMs(delayMs),
    ...(infrastructure === undefined ? {} : { infrastructure }),
  };
}
