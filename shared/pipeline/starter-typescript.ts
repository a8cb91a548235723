import { plainValue } from "./located.ts";
import { pipelineFolder } from "./pipeline-path.ts";
import { readYaml } from "./yaml-source.ts";
import type { YamlValue } from "./yaml-value.ts";

/** Where `millrace init --ts` puts the types of pipelines, in the source. */
export const typesPath = `${pipelineFolder}/millrace.d.ts`;

/**
 * The same pipeline in TypeScript: what a starter says in YAML, as the text of a `millrace.ts`. Pure.
 * @param yaml must be sound
 */
export function starterTypeScript(yaml: string): string {
  const { top } = readYaml(yaml, "");
  const pipeline = top === undefined ? {} : plainValue(top);
  return [
    `/// <reference path="${typesPath}" />`,
    "// Check this file with `millrace validate`, run it with `millrace run`.",
    'import { definePipeline } from "millrace";',
    "",
    `export default definePipeline(${literal(pipeline, "")});`,
    "",
  ].join("\n");
}

function literal(value: YamlValue, indent: string): string {
  if (typeof value === "string") return scalar(value, indent);
  const inner = `${indent}  `;
  if (isList(value)) {
    const items = value.map((item) => literal(item, inner));
    const short = `[${items.join(", ")}]`;
    if (short.length <= 100 && !short.includes("\n")) return short;
    return `[\n${items.map((item) => `${inner}${item},\n`).join("")}${indent}]`;
  }
  const members = Object.entries(value).map(([key, member]) => {
    const name = /^[A-Za-z_]\w*$/.test(key) ? key : JSON.stringify(key);
    return `${inner}${name}: ${literal(member, inner)},\n`;
  });
  return members.length === 0 ? "{}" : `{\n${members.join("")}${indent}}`;
}

/** A number or a word of YAML where the text of it is the same, else a string; a script of several lines stays one. */
function scalar(text: string, indent: string): string {
  if (text === "true" || text === "false" || String(Number(text)) === text) return text;
  const lines = text.replace(/\n$/, "").split("\n");
  if (lines.length === 1) return JSON.stringify(text);
  return `[\n${lines.map((line) => `${indent}  ${JSON.stringify(line)},\n`).join("")}${indent}].join("\\n")`;
}

/** Array.isArray makes `any` of a list that cannot be changed. */
function isList(value: YamlValue): value is readonly YamlValue[] {
  return Array.isArray(value);
}
