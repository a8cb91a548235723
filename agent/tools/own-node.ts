import { createHash } from "node:crypto";
import { ownNodeTool } from "../../shared/pipeline/own-node-tool.ts";
import { isSingleFile } from "../../shared/single-file.ts";
import { type FoundTool, stampOf } from "./probe-tool.ts";

/**
 * The Node that this agent runs on, as a tool: pipeline files in TypeScript are evaluated by it, whatever the machine has.
 * It is told from others by what it says of itself; to hash 120 MB would cost each start of an agent a third of a second.
 * Undefined in the one executable, whose Node runs nothing but what is in it.
 */
export function ownNode(): FoundTool | undefined {
  const path = process.execPath;
  const stamp = stampOf(path);
  if (isSingleFile() || stamp === undefined) return undefined;
  const { node: version } = process.versions;
  const said = JSON.stringify([process.versions, process.platform, process.arch]);
  const mark = createHash("sha256").update(said).digest("hex").slice(0, 16);
  return { name: ownNodeTool, version, fingerprint: `${version}@${mark}`, path, stamp };
}
