import { z } from "zod";
import { limits } from "../limits.ts";
import { readTimeout } from "./duration.ts";
import { readGlob } from "./glob.ts";
import { readGateText, readName, readScript, readText, readVariable } from "./reading.ts";
import {
  readCondition,
  readDimension,
  readIdentifier,
  readMatrixValue,
  readParamType,
  readPort,
  readReadyUrl,
  readRefPattern,
  readSchedule,
} from "./reading-language.ts";
import { readRelativePath } from "./relative-path.ts";
import { items, scalar, shorthand } from "./schema-parts.ts";

// Shapes of what a pipeline file writes out before there are tasks, and of what starts it.

/** A glob over the source tree, as it is written. */
export const glob = scalar((text) => {
  const reading = readGlob(text);
  return "wrong" in reading ? reading : { value: text };
});

export const param = z
  .strictObject({
    type: scalar(readParamType).optional().describe("What it may be: string (the default), number, boolean or choice."),
    options: items(scalar(readText), 1_000).optional().describe("Of a choice: what one chooses from."),
    default: scalar(readText).optional().describe("Its value where nobody gives one; without it, somebody has to."),
    title: scalar(readGateText).optional().describe("What it is for, for a person."),
  })
  .refine(({ type, options }) => (type ?? (options && "choice")) !== "choice" || (options?.length ?? 0) > 0, {
    path: ["options"],
    message: "are what one chooses from: give at least one",
  })
  .refine(({ type, options }) => options === undefined || type === undefined || type === "choice", {
    path: ["options"],
    message: "belong to a parameter of the type choice",
  });
export const params = z.record(scalar(readIdentifier), shorthand("default", param));

const combination = z.record(scalar(readDimension), scalar(readMatrixValue));
const combinations = items(combination, limits.runTasks).describe("Combinations of values, each as a mapping.");
export const matrix = z
  .object({ include: combinations.optional(), exclude: combinations.optional() })
  .catchall(items(scalar(readMatrixValue), limits.runTasks).describe("The values of one dimension."))
  .superRefine((value, context) => {
    const names = Object.keys(value).filter((key) => key !== "include" && key !== "exclude");
    if (names.length > limits.matrixDimensions) {
      context.issues.push({
        code: "custom",
        message: `has more than ${limits.matrixDimensions} dimensions`,
        input: value,
      });
    }
    for (const name of names) {
      const reading = readDimension(name);
      if (!("wrong" in reading)) continue;
      const { wrong: message, hint } = reading;
      context.issues.push({ code: "custom", path: [name], message, params: { hint }, input: name });
    }
  });

export const condition = scalar(readCondition);
export const changes = items(glob, 1_000);

export const ready = z
  .strictObject({
    tcp: scalar(readPort)
      .optional()
      .describe("It is ready when something listens on this port; auto is its own free one."),
    http: scalar(readReadyUrl).optional().describe("It is ready when this address answers with a status below 400."),
    exec: scalar(readScript).optional().describe("It is ready when this script ends with 0."),
  })
  .refine((value) => Object.keys(value).length === 1, { message: "must have exactly one of tcp, http and exec" });
export const service = z.strictObject({
  run: scalar(readScript).describe(
    "The script that starts the service and stays with it, in the task's working directory.",
  ),
  ready: ready.optional().describe("How to know that it serves; without it, it is ready as soon as it was started."),
  timeout: scalar(readTimeout).optional().describe("How long it may take to be ready; 60s unless it says otherwise."),
  env: z.record(scalar(readVariable), scalar(readText)).optional().describe("Variables of the service alone."),
});
export const services = z
  .record(scalar(readName), service)
  .refine((all) => Object.keys(all).length <= limits.taskServices, {
    message: `has more than ${limits.taskServices} services`,
  });

export const include = items(scalar(readRelativePath), limits.includedFiles);

export const refs = z.strictObject({
  branches: items(scalar(readRefPattern)).optional().describe("Patterns of branches; without them, all."),
  tags: items(scalar(readRefPattern)).optional().describe("Patterns of tags."),
  paths: items(glob).optional().describe("Only when something changed that one of these globs names."),
});
const orNothing = z.preprocess((value) => (value === "" || value === "true" ? {} : value), refs);
export const triggers = z.strictObject({
  push: orNothing.optional().describe("When commits arrive on a branch, or a tag does."),
  pull_request: orNothing.optional().describe("When a change is proposed or changed."),
  schedule: z
    .preprocess((value) => (typeof value === "string" ? [value] : value), items(scalar(readSchedule)))
    .optional()
    .describe("At these times, in the five fields of cron."),
  upstream: items(scalar(readName)).optional().describe("When runs of these pipelines have succeeded."),
});
