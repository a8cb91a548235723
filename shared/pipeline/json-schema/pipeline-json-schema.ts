import { z } from "zod";
import { pipelineShape } from "../schema.ts";
import { propertiesOf, recordOf } from "./levels.ts";
import { type JsonSchema, orEmbedded, writtenScalar } from "./written-scalars.ts";

/** Where a coordinator serves the schema. */
export const pipelineSchemaPath = "/schema/pipeline.json";

/**
 * JSON Schema (draft 7, which editors know best) of a pipeline file as people write it, made from the schema that the
 * parser has. What it takes the parser may still refuse: names that refer to nothing, globs that match nothing, values of
 * expressions. What it refuses the parser refuses too.
 */
export function pipelineJsonSchema(): JsonSchema {
  const { $schema, ...made } = z.toJSONSchema(pipelineShape, {
    io: "input",
    target: "draft-7",
    reused: "inline",
    unrepresentable: "any",
    override: ({ zodSchema, jsonSchema }) => asWritten(zodSchema, recordOf(jsonSchema)),
  });
  const schema = recordOf(finished(made));
  fillTemplates(schema);
  return { $schema, title: "Millrace pipeline", ...orFrom("include", schema) };
}

/** Where a mapping or a list stands, the one thing in it that people mostly say may stand as well. */
type Short = { readonly key: string } | "list" | "nothing";

/** The parser reads scalars as text; replaces that by what stands in the file. Leaves marks where more is to be done. */
function asWritten(zodSchema: z.core.$ZodTypes, json: JsonSchema): void {
  const { reader } = json;
  if (typeof reader === "function") {
    delete json["reader"];
    delete json["type"];
    Object.assign(json, orEmbedded(writtenScalar(reader as Parameters<typeof writtenScalar>[0])));
  } else if (zodSchema._zod.def.type === "string") {
    json["type"] = ["string", "number", "boolean"];
  } else if (zodSchema._zod.def.type === "pipe" && zodSchema._zod.def.in._zod.def.type === "transform") {
    const short = shortForm(zodSchema);
    if (short !== undefined) json["short"] = short;
  }
}

/** What a mapping or list makes of a text that stands in its place, found out by giving it one. */
function shortForm(schema: z.core.$ZodType): Short | undefined {
  const { def } = schema._zod as z.core.$ZodPipe["_zod"];
  const { transform } = (def.in as z.core.$ZodTransform)._zod.def;
  const made = transform("x", { value: "x", issues: [] });
  if (Array.isArray(made)) return "list";
  const key = Object.keys(recordOf(made)).find((name) => recordOf(made)[name] === "x");
  if (key !== undefined) return { key };
  return typeof transform("", { value: "", issues: [] }) === "object" ? "nothing" : undefined;
}

/** Turns what is said for this file alone into JSON Schema, at all depths. */
function finished(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(finished);
  if (typeof value !== "object" || value === null) return value;
  const { short, propertyNames, ...all } = Object.fromEntries(
    Object.entries(value).map(([key, part]) => [key, finished(part)]),
  );
  const { pattern } = recordOf(propertyNames);
  if (pattern !== undefined) all["propertyNames"] = { pattern }; // keys are text always
  const properties = propertiesOf(all);
  const mayInherit = "run" in properties && "template" in properties && all["required"] !== undefined;
  if (short === undefined) return mayInherit ? orFrom("template", all) : all;
  return withShort(all, short as Short);
}

/** What is required may come from what `key` names. */
function orFrom(key: string, { required, ...open }: JsonSchema): JsonSchema {
  return { ...open, anyOf: [{ required }, { required: [key] }] };
}

function withShort({ description, ...full }: JsonSchema, short: Short): JsonSchema {
  const one =
    short === "nothing"
      ? { enum: [null, "", true] }
      : short === "list"
        ? recordOf(full["items"])
        : recordOf(propertiesOf(full)[short.key]);
  const { description: _own, ...alone } = one;
  return { anyOf: [alone, full], ...(description === undefined ? {} : { description }) };
}

/** A template has the keys of a task, which its own shape leaves open since only the whole of both is looked at. */
function fillTemplates(schema: JsonSchema): void {
  const template = propertiesOf(recordOf(recordOf(propertiesOf(schema)["templates"])["additionalProperties"]));
  const stage = recordOf(recordOf(propertiesOf(schema)["stages"])["additionalProperties"]);
  const task = propertiesOf(recordOf(recordOf(propertiesOf(stage)["tasks"])["additionalProperties"]));
  for (const [key, value] of Object.entries(template)) {
    // Of a key that its own shape leaves open there is nothing but what it is for.
    const isOpen = Object.keys(recordOf(value)).every((keyword) => keyword === "description");
    if (isOpen && task[key] !== undefined) template[key] = task[key];
  }
}
