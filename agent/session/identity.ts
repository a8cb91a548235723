import { randomBytes } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";

/**
 * The agent's id: made on the first start in a data folder and the same ever after, so that the farm knows an agent again.
 * @param name what the id shall be; default is made of the machine's name and a few random digits
 * @throws MillraceError invalid_argument for a bad name, failed_precondition when the folder belongs to another
 */
export function agentIdentity(folder: string, name?: string): string {
  if (name !== undefined && !/^[a-z0-9-]{1,64}$/.test(name)) {
    throw new MillraceError("invalid_argument", `--name "${name}": 1 to 64 of a-z, 0-9 and -`);
  }
  const file = join(folder, "agent-id");
  if (existsSync(file)) {
    const id = readFileSync(file, "utf8").trim();
    if (name === undefined || name === id) return id;
    throw new MillraceError(
      "failed_precondition",
      `${folder} belongs to the agent "${id}": leave --name out, or give "${name}" a folder of its own with --data`,
    );
  }
  const id = name ?? madeUp();
  writeFileSync(`${file}.new`, `${id}\n`);
  renameSync(`${file}.new`, file);
  return id;
}

function madeUp(): string {
  const machine = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return `${machine.slice(0, 48) || "agent"}-${randomBytes(3).toString("hex")}`;
}
