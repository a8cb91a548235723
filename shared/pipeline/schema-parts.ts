import { z } from "zod";
import { limits } from "../limits.ts";
import type { Reading } from "./reading.ts";

// What shapes of a pipeline file are made of.

/** Text with a meaning of its own; what is wrong with it and the hint travel in the issue. `reader` is for json-schema.ts. */
export function scalar<T>(read: (text: string) => Reading<T>) {
  return z
    .string()
    .transform((text, context): T => {
      const reading = read(text);
      if ("value" in reading) return reading.value;
      context.issues.push({ code: "custom", message: reading.wrong, params: { hint: reading.hint }, input: text });
      return z.NEVER;
    })
    .meta({ reader: read });
}

/** No more than `most`. */
export function items<T extends z.ZodType>(item: T, most: number = limits.gateItems) {
  return z.array(item).refine((all) => all.length <= most, { message: `has more than ${most} items` });
}

/** A mapping, or the one thing in it that people mostly say. */
export function shorthand<T extends z.ZodType>(key: string, full: T) {
  return z.preprocess((value) => (typeof value === "string" ? { [key]: value } : value), full);
}
