import { choicesOf, propertiesOf, recordOf } from "./levels.ts";
import { embedded, type JsonSchema } from "./written-scalars.ts";

/** Shapes with a name of their own, by how they are reached from the top; the others stand where they are used. */
const named: ReadonlyMap<string, string> = new Map([
  ["", "Pipeline"],
  ["defaults", "Defaults"],
  ["stages.*", "Stage"],
  ["stages.*.tasks.*", "Task"],
  ["stages.*.tasks.*.services.*", "Service"],
  ["stages.*.manual", "Manual"],
  ["stages.*.deploy", "Deploy"],
  ["templates.*", "Template"],
]);

const head = `// The types of pipelines in TypeScript, made by \`millrace schema --typescript\`. Do not edit: write it again with a newer millrace.
// In millrace.ts: /// <reference path=".millrace/millrace.d.ts" />

declare module "millrace" {
  /** CEL, which is evaluated when a run is planned: "\${{ params.level }}", in quotes and not in backticks. */
  export type Expression = \`\${string}\\\${{\${string}\`;
`;

const builder = `
  /** Gives back the pipeline, and has the compiler look at it. */
  export function definePipeline(pipeline: Pipeline): Pipeline;
  /** The same for a stage. */
  export function defineStage(stage: Stage): Stage;
  /** The same for a task. */
  export function defineTask(task: Task): Task;
  /** A script whose values the shell takes as they are: sh\`cp \${file} dist/\`. A list becomes several words. */
  export function sh(
    texts: TemplateStringsArray,
    ...values: readonly (string | number | readonly (string | number)[])[]
  ): string;
}
`;

/** Declarations of the module \`millrace\` for editors, from the schema of pipeline files and its descriptions. Pure. */
export function pipelineTypes(schema: JsonSchema): string {
  const shapes = new Map<string, { readonly name: string; readonly schema: JsonSchema }>();
  for (const [path, name] of named) {
    const shape = mappingAt(schema, path);
    if (shape !== undefined) shapes.set(keyOf(shape), { name, schema: shape });
  }
  const nameOf = (shape: JsonSchema) => shapes.get(keyOf(shape))?.name;
  const declarations = [...shapes.values()].map(({ name, schema: shape }) => {
    return `\n  export type ${name} = ${mapping(shape, nameOf, "  ")};\n`;
  });
  return `${head}${declarations.join("")}${builder}`;
}

/** Of a name, its type; undefined for a shape without one. */
type NameOf = (shape: JsonSchema) => string | undefined;

/** What is said of a shape where it is used is no part of it. */
function keyOf(schema: JsonSchema): string {
  return JSON.stringify({ ...schema, description: undefined });
}

function mappingAt(schema: JsonSchema, path: string): JsonSchema | undefined {
  let at: JsonSchema | undefined = schema;
  for (const step of path === "" ? [] : path.split(".")) {
    const inside: JsonSchema = at === undefined ? {} : (mappingOf(at) ?? {});
    const next: unknown = step === "*" ? inside["additionalProperties"] : propertiesOf(inside)[step];
    at = next === undefined ? undefined : mappingOf(recordOf(next));
  }
  return at;
}

/** The schema, or the choice of it, that is a mapping: others are short forms. */
function mappingOf(schema: JsonSchema): JsonSchema | undefined {
  return schema["type"] === "object" ? schema : choicesOf(schema).find((choice) => choice["type"] === "object");
}

function typeOf(schema: JsonSchema, nameOf: NameOf, indent: string): string {
  if (schema["pattern"] === embedded) return "Expression";
  if (schema["type"] === "object") return nameOf(schema) ?? mapping(schema, nameOf, indent);
  const choices = choicesOf(schema);
  if (choices.length > 0) return union(choices.map((choice) => typeOf(choice, nameOf, indent)));
  const { enum: words, const: word, type, items } = schema;
  if (Array.isArray(words)) return union(words.flatMap((one) => (one === null ? [] : [JSON.stringify(one)])));
  if (word !== undefined) return JSON.stringify(word);
  if (type === "array") return listOf(items, nameOf, indent);
  const types = [type].flat().filter((one) => one !== "null");
  return union(types.map((one) => (one === "integer" ? "number" : typeof one === "string" ? one : "unknown")));
}

function listOf(items: unknown, nameOf: NameOf, indent: string): string {
  if (Array.isArray(items)) return `readonly [${items.map((one) => typeOf(recordOf(one), nameOf, indent)).join(", ")}]`;
  const item = typeOf(recordOf(items), nameOf, indent);
  return `readonly ${/^[A-Za-z]+$/.test(item) ? item : `(${item})`}[]`;
}

function union(types: readonly string[]): string {
  return [...new Set(types)].join(" | ");
}

/** What must be there stands without a question mark; where one of several must, that follows as a union. */
function mapping(schema: JsonSchema, nameOf: NameOf, indent: string): string {
  const inner = `${indent}  `;
  const required = new Set([schema["required"] ?? []].flat());
  const keys = Object.entries(propertiesOf(schema)).map(([key, value]) => {
    return { key, of: recordOf(value), type: typeOf(recordOf(value), nameOf, inner) };
  });
  const lines = keys.flatMap(({ key, of, type }) => {
    const { description } = of;
    const said =
      typeof description === "string" && description !== "" ? [`${inner}/** ${comment(description)} */`] : [];
    const member = `${/^[a-z_]\w*$/i.test(key) ? key : JSON.stringify(key)}${required.has(key) ? "" : "?"}: ${type}`;
    return [...said, `${inner}${member}${required.has(key) ? "" : " | undefined"};`];
  });
  const others = schema["additionalProperties"];
  if (typeof others === "object" && others !== null) {
    const type = union([typeOf(recordOf(others), nameOf, inner), ...keys.flatMap((one) => [one.type, "undefined"])]);
    lines.push(`${inner}[name: string]: ${type};`);
  }
  const alternatives = choicesOf(schema).flatMap(({ required: one }) => (Array.isArray(one) ? [one.map(String)] : []));
  const types = new Map(keys.map(({ key, type }) => [key, type]));
  const any = alternatives.map((all) => `{ ${all.map((key) => `${key}: ${types.get(key) ?? "unknown"}`).join("; ")} }`);
  return `{\n${lines.join("\n")}\n${indent}}${any.length === 0 ? "" : ` & (${any.join(" | ")})`}`;
}

function comment(text: string): string {
  return text.replaceAll("*/", "*\\/").replaceAll("\n", " ");
}
