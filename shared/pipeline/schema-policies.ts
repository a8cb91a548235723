import { z } from "zod";
import { limits } from "../limits.ts";
import { formatDuration, readDuration } from "./duration.ts";
import { type Reading, readBoolean, readGateText, readName, readVariable } from "./reading.ts";
import { readFieldType, readGroup, readPolicy, readRetryCause, wholeNumber } from "./reading-policies.ts";
import { items, scalar, shorthand } from "./schema-parts.ts";

// Shapes that say what happens when something fails, is full, is secret or is asked of people.

export const retryPolicy = z.strictObject({
  times: scalar(wholeNumber(0, limits.taskRetriesMax)).optional(),
  on: items(scalar(readRetryCause), limits.retryCauses).optional(),
  delay: scalar(readDelay).optional(),
  infrastructure: scalar(wholeNumber(0, limits.infrastructureRetriesMax)).optional(),
});
export const retry = shorthand("times", retryPolicy);

function readDelay(text: string): Reading<number> {
  const reading = readDuration(text);
  if ("wrong" in reading || reading.value <= limits.retryDelayMaxMs) return reading;
  return { wrong: `is too long: ${text}`, hint: `the longest is ${formatDuration(limits.retryDelayMaxMs)}` };
}

export const concurrencyGroup = z.strictObject({
  group: scalar(readGroup),
  limit: scalar(wholeNumber(1, limits.concurrencyMax)).optional(),
  policy: scalar(readPolicy).optional(),
});
export const concurrency = shorthand("group", concurrencyGroup);

export const secretUse = z.strictObject({ secret: scalar(readName), file: scalar(readBoolean).optional() });
export const secrets = z
  .record(scalar(readVariable), shorthand("secret", secretUse))
  .refine((all) => Object.keys(all).length <= limits.taskSecrets, {
    message: `has more than ${limits.taskSecrets} secrets`,
  });

export const gateField = z
  .strictObject({
    title: scalar(readGateText).optional(),
    type: scalar(readFieldType).optional(),
    options: items(scalar(readGateText)).optional(),
    required: scalar(readBoolean).optional(),
  })
  .refine(({ type, options }) => (type === "choice") === (options !== undefined && options.length > 0), {
    path: ["options"],
    message: "belong to a field of the type choice, and are what one chooses from",
  });
