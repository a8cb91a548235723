import { z } from "zod";
import { limits } from "../limits.ts";
import { shellVariables } from "../shell-variables.ts";
import { formatDuration, readDuration } from "./duration.ts";
import { type Reading, readBoolean, readGateText, readName, readVariable } from "./reading.ts";
import { readFieldType, readGroup, readPolicy, readRetryCause, wholeNumber } from "./reading-policies.ts";
import { items, scalar, shorthand } from "./schema-parts.ts";

// Shapes that say what happens when something fails, is full, is secret or is asked of people.

export const retryPolicy = z.strictObject({
  times: scalar(wholeNumber(0, limits.taskRetriesMax)).optional().describe("New tries after failures of its own."),
  on: items(scalar(readRetryCause), limits.retryCauses)
    .optional()
    .describe(
      "Endings after which it is tried again: exit 75, a signal, timeout, out-of-memory, output-missing; any unless it says otherwise.",
    ),
  delay: scalar(readDelay)
    .optional()
    .describe("Before the first new try, doubled for each one after it; 1s unless it says otherwise."),
  infrastructure: scalar(wholeNumber(0, limits.infrastructureRetriesMax))
    .optional()
    .describe("Placements after the loss of an agent; the farm's own budget unless it says otherwise."),
});
export const retry = shorthand("times", retryPolicy);

function readDelay(text: string): Reading<number> {
  const reading = readDuration(text);
  if ("wrong" in reading || reading.value <= limits.retryDelayMaxMs) return reading;
  return { wrong: `is too long: ${text}`, hint: `the longest is ${formatDuration(limits.retryDelayMaxMs)}` };
}

export const concurrencyGroup = z.strictObject({
  group: scalar(readGroup).describe("The name of the group; one in the whole project."),
  limit: scalar(wholeNumber(1, limits.concurrencyMax))
    .optional()
    .describe("How many may run at one time; 1 unless it says otherwise."),
  policy: scalar(readPolicy)
    .optional()
    .describe(
      "What becomes of the next one when the group is full: queue (it waits), or cancel-superseded (it takes the place of what came before).",
    ),
});
export const concurrency = shorthand("group", concurrencyGroup);

export const secretUse = z.strictObject({
  secret: scalar(readName).describe("The name of a secret of the project."),
  file: scalar(readBoolean).optional().describe("true: it is put into a file, and the variable holds its path."),
});
export const secrets = z
  .record(scalar(readSecretVariable), shorthand("secret", secretUse))
  .refine((all) => Object.keys(all).length <= limits.taskSecrets, {
    message: `has more than ${limits.taskSecrets} secrets`,
  });

/** Of a secret given as a file, too: one rule is easier to know than two. */
function readSecretVariable(text: string): Reading<string> {
  if (!shellVariables.has(text)) return readVariable(text);
  return { wrong: `cannot hold a secret: shells set ${text} by themselves`, hint: "take another name" };
}

export const gateField = z
  .strictObject({
    title: scalar(readGateText).optional().describe("What is asked; its name unless it says otherwise."),
    type: scalar(readFieldType).optional().describe("text (the default), number, boolean or choice."),
    options: items(scalar(readGateText)).optional().describe("Of a choice: what one chooses from."),
    required: scalar(readBoolean).optional().describe("true: an approver has to fill it in."),
  })
  .refine(({ type, options }) => (type === "choice") === (options !== undefined && options.length > 0), {
    path: ["options"],
    message: "belong to a field of the type choice, and are what one chooses from",
  });
