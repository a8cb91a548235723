import { createReadStream, lstatSync } from "node:fs";
import { appendFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { limits } from "../../shared/limits.ts";
import type { Masking } from "../../shared/masking/masking.ts";
import type { CollectedOutputs } from "../executor/collect-outputs.ts";
import { Refused } from "../executor/executor.ts";
import type { PromisedOutput } from "../executor/output-paths.ts";

export interface SearchOptions {
  /** Where the outputs lie; paths are told relative to it. */
  readonly root: string;
  readonly masking: Masking;
  /** The task's output, which nobody writes to any more. */
  readonly spool: string;
  readonly signal: AbortSignal;
}

/**
 * Looks for secrets in what a task has made, and says in its log and to the caller what it finds, a sentence each, masked:
 * a path may be what holds the secret. Outputs are verified and deployed by their bytes, so they are not altered. Files
 * beyond `limits.searchedFileBytes`, and beyond `limits.searchedOutputBytes` in all, are passed over.
 */
export async function warnOfSecrets(outputs: CollectedOutputs, options: SearchOptions): Promise<readonly string[]> {
  const { root, masking, spool, signal } = options;
  if (masking.isEmpty) return [];
  const warnings: string[] = [];
  const warn = (what: string, secrets: ReadonlySet<string>) => {
    for (const secret of secrets) warnings.push(masking.text(`${what} contains the secret ${secret}`));
  };
  let searchedBytes = 0;
  for (const file of outputs.snapshot.files.values()) {
    const path = relative(root, file);
    warn(`the path of the output ${path}`, seenIn(masking, path));
    const { size } = await stat(file);
    if (size > limits.searchedFileBytes || searchedBytes + size > limits.searchedOutputBytes) continue;
    searchedBytes += size;
    warn(`the output ${path}`, await seenInFile(masking, file, signal));
  }
  for (const { path, target } of outputs.symlinks) warn(`the symlink ${path}`, seenIn(masking, target));
  if (warnings.length > 0) await appendFile(spool, warnings.map((it) => `millrace: warning: ${it}\n`).join(""));
  return warnings;
}

/**
 * Tasks that a task writes become events, Actions and what everybody sees of the run, so unlike other outputs they are not
 * kept when there is a secret in them.
 * @throws Refused when there is
 */
export async function refuseSecretsInTasks(
  promised: readonly PromisedOutput[],
  { root, masking, signal }: Omit<SearchOptions, "spool">,
): Promise<void> {
  if (masking.isEmpty) return;
  for (const { fromRoot } of promised.filter(({ holdsTasks }) => holdsTasks)) {
    const file = join(root, fromRoot);
    if (lstatSync(file, { throwIfNoEntry: false })?.isFile() !== true) continue;
    const [secret] = await seenInFile(masking, file, signal);
    if (secret === undefined) continue;
    throw new Refused(
      `the tasks that it wrote contain the secret ${secret}, and everybody would see it: let them have it by \`secrets\``,
    );
  }
}

function seenIn(masking: Masking, text: string): ReadonlySet<string> {
  const seen = new Set<string>();
  const stream = masking.stream((secret) => seen.add(secret));
  stream.push(Buffer.from(text));
  stream.end();
  return seen;
}

async function seenInFile(masking: Masking, file: string, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const seen = new Set<string>();
  const stream = masking.stream((secret) => seen.add(secret));
  const chunks: AsyncIterable<Uint8Array> = createReadStream(file, { highWaterMark: limits.streamChunkBytes, signal });
  for await (const chunk of chunks) stream.push(chunk);
  stream.end();
  return seen;
}
