import type { JsonSchema } from "./written-scalars.ts";

// The mappings of a pipeline file in the order of the reference, each with how it is reached.

/** One mapping of the file, with its keys. */
export interface SchemaLevel {
  /** As the reference calls it: `a task`. */
  readonly title: string;
  /** Keys from the top: `stages.*.tasks.*`, where `*` is any name and `[]` any item. */
  readonly path: string;
  readonly schema: JsonSchema;
}

const titles: ReadonlyMap<string, string> = new Map([
  ["", "The pipeline"],
  ["defaults", "Defaults"],
  ["stages.*", "A stage"],
  ["stages.*.tasks.*", "A task"],
  ["stages.*.manual", "A manual stage"],
  ["stages.*.manual.fields.*", "A field of a form"],
  ["stages.*.deploy", "A deploy"],
  ["stages.*.deploy.probe", "A probe"],
  ["stages.*.tasks.*.use[]", "A used artifact"],
  ["stages.*.tasks.*.retry", "A retry policy"],
  ["stages.*.tasks.*.concurrency", "A concurrency group"],
  ["stages.*.tasks.*.secrets.*", "A secret"],
  ["stages.*.tasks.*.matrix", "A matrix"],
  ["stages.*.tasks.*.services.*", "A service"],
  ["stages.*.tasks.*.services.*.ready", "When a service is ready"],
  ["templates.*", "A template"],
  ["params.*", "A parameter"],
  ["on", "What starts runs"],
  ["on.push", "Changes that start runs"],
  ["stages.*.finally", "The end of a stage"],
  ["finally", "The end of a run"],
]);

/** All mappings with keys of their own, from the outside in; one that is the same in several places stands where it is met first under a title. */
export function schemaLevels(schema: JsonSchema): SchemaLevel[] {
  const seen = new Set<string>();
  const levels = mappingsIn(schema, "").filter(({ path, schema: mapping }) => {
    const shape = JSON.stringify(Object.keys(propertiesOf(mapping)));
    const known = titles.has(path);
    if (!known && seen.has(shape)) return false;
    seen.add(shape);
    return true;
  });
  const byPath = new Map(levels.map((level) => [level.path, level]));
  const titled = [...titles.keys()].flatMap((path) => byPath.get(path) ?? []);
  const shapes = new Set(titled.map(({ schema: mapping }) => JSON.stringify(Object.keys(propertiesOf(mapping)))));
  const others = levels.filter(
    ({ path, schema: mapping }) => !titles.has(path) && !shapes.has(JSON.stringify(Object.keys(propertiesOf(mapping)))),
  );
  return [...titled, ...others];
}

function mappingsIn(schema: JsonSchema, path: string): SchemaLevel[] {
  const found: SchemaLevel[] = [];
  const properties = propertiesOf(schema);
  if (Object.keys(properties).length > 0) found.push({ title: titles.get(path) ?? `\`${path}\``, path, schema });
  for (const [key, value] of Object.entries(properties))
    found.push(...mappingsIn(recordOf(value), path === "" ? key : `${path}.${key}`));
  const values = schema["additionalProperties"];
  if (typeof values === "object" && values !== null) found.push(...mappingsIn(recordOf(values), `${path}.*`));
  if (schema["items"] !== undefined) found.push(...mappingsIn(recordOf(schema["items"]), `${path}[]`));
  for (const choice of choicesOf(schema)) found.push(...mappingsIn(choice, path));
  return found;
}

/** Keys of a mapping; none where it is none. */
export function propertiesOf(schema: JsonSchema): JsonSchema {
  return recordOf(schema["properties"]);
}

/** What `anyOf` offers. */
export function choicesOf(schema: JsonSchema): JsonSchema[] {
  const { anyOf, oneOf } = schema;
  return [anyOf, oneOf].flatMap((choices) => (Array.isArray(choices) ? choices.map(recordOf) : []));
}

/** Of a value that is no mapping, an empty one. */
export function recordOf(value: unknown): JsonSchema {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonSchema) : {};
}
