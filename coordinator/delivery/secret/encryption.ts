import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { MillraceError } from "../../../shared/errors.ts";
import type { SecretKey } from "./secret-keys.ts";

/** Which value it is. A ciphertext that stands in the place of another one does not open. */
export interface ValueOf {
  readonly project: string;
  readonly name: string;
  readonly generation: number;
}

const nonceBytes = 12;
const tagBytes = 16;

/** AES-256-GCM: nonce, ciphertext, tag. */
export function encryptValue(key: SecretKey, of: ValueOf, value: Uint8Array): Uint8Array {
  const nonce = randomBytes(nonceBytes);
  const cipher = createCipheriv("aes-256-gcm", key.bytes, nonce).setAAD(associated(of));
  return Buffer.concat([nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()]);
}

/** @throws MillraceError data_loss when it is not what was encrypted under this key as this value */
export function decryptValue(key: SecretKey, of: ValueOf, ciphertext: Uint8Array): Uint8Array {
  const end = ciphertext.byteLength - tagBytes;
  try {
    const nonce = ciphertext.subarray(0, nonceBytes);
    const decipher = createDecipheriv("aes-256-gcm", key.bytes, nonce, { authTagLength: tagBytes });
    decipher.setAAD(associated(of)).setAuthTag(ciphertext.subarray(end));
    return Buffer.concat([decipher.update(ciphertext.subarray(nonceBytes, end)), decipher.final()]);
  } catch (error) {
    const { project, name } = of;
    const message = `the stored value of the secret ${name} of ${project} is damaged or not its own: set it again`;
    throw new MillraceError("data_loss", message, { cause: error });
  }
}

/** Names hold no zero byte. */
function associated({ project, name, generation }: ValueOf): Buffer {
  return Buffer.from(["millrace secret 1", project, name, generation].join("\0"));
}
