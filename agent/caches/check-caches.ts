import type { NamedCaches } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { limits } from "../../shared/limits.ts";
import { readName } from "../../shared/pipeline/reading.ts";
import { pathsOverlap, readRelativePath } from "../../shared/pipeline/relative-path.ts";

/**
 * What is wrong with the caches of a message; undefined when nothing is. A plan has none of this, but names and paths
 * become folders here, so the agent takes nobody's word for it. Pure.
 * @param outputs relative to the input root, as the caches' paths are; empty stands for the whole root
 */
export function checkCaches({ caches }: Pick<NamedCaches, "caches">, outputs: readonly string[]): string | undefined {
  if (caches.length > limits.taskCaches) {
    return `it asks for ${caches.length} caches; ${limits.taskCaches} are the most`;
  }
  for (const [index, { name, path }] of caches.entries()) {
    const quoted = `cache ${JSON.stringify(name)}`;
    if ("wrong" in readName(name)) return `${quoted} has no proper name`;
    const reading = readRelativePath(path);
    if ("wrong" in reading) return `the path of ${quoted} ${reading.wrong}`;
    if (reading.value !== path) return `the path of ${quoted} is not in its plain form: ${JSON.stringify(path)}`;
    const others = [...outputs, ...caches.slice(0, index).map((other) => other.path)];
    const other = others.find((place) => place === "" || pathsOverlap(place, path));
    if (other !== undefined) return `${quoted} is at "${path}", where "${other}" is an output or a cache`;
  }
  return undefined;
}
