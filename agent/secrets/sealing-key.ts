import { readFileSync } from "node:fs";
import { from, MillraceError } from "../../shared/errors.ts";
import { writePrivateFile } from "../../shared/private-file.ts";
import { newSealingKey, type SealingKey, sealingKeyOf } from "../../shared/sealing/sealed-secrets.ts";

/**
 * The key to which secrets are sealed for this agent, from a file that only its user may read; made at its first start.
 * @throws MillraceError data_loss when the file is damaged
 */
export function openSealingKey(path: string): SealingKey {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    const failure = from(error, "reading the agent's key for secrets");
    if (failure.code !== "not_found") throw failure;
    const made = newSealingKey();
    writePrivateFile(path, `${made.privateKey}\n`, { durable: true });
    return made;
  }
  try {
    return sealingKeyOf(text.trim());
  } catch (error) {
    const message = `${path} is damaged: delete it, and the agent makes a new one; output of tasks with secrets that it has not sent yet is lost then`;
    throw new MillraceError("data_loss", message, { cause: error });
  }
}
