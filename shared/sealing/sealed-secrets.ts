import {
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
} from "node:crypto";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type SealedSecrets,
  SealedSecretsSchema,
  type SecretValue,
  SecretValuesSchema,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { MillraceError } from "../errors.ts";

/** What a sealed message is for: it opens nowhere else. */
export interface SealedFor {
  readonly agentId: string;
  readonly executionId: string;
  readonly epoch: { readonly term: bigint; readonly number: bigint };
}

/** Of an agent: the half that it keeps, as PKCS #8 in base64, and the half that it tells, 32 bytes. */
export interface SealingKey {
  readonly privateKey: string;
  readonly publicKey: Uint8Array;
}

const tagBytes = 16;
/** What a raw X25519 key has before it as SubjectPublicKeyInfo (RFC 8410). */
const spkiPrefix = Buffer.from("302a300506032b656e032100", "hex");
/** Each key is used for one message. */
const nonce = Buffer.alloc(12);

export function newSealingKey(): SealingKey {
  const { privateKey } = generateKeyPairSync("x25519");
  return sealingKeyOf(privateKey.export({ format: "der", type: "pkcs8" }).toString("base64"));
}

/** @throws MillraceError data_loss when it is no such key; its text is in no message */
export function sealingKeyOf(privateKey: string): SealingKey {
  try {
    return { privateKey, publicKey: rawPublicKey(createPublicKey(privateKeyOf(privateKey))) };
  } catch {
    throw new MillraceError("data_loss", "it is no private key for X25519"); // the cause could repeat the key
  }
}

/**
 * Values that only the agent with this key can read, and only for this attempt.
 * @param publicKey 32 bytes
 */
export function sealSecrets(
  publicKey: Uint8Array,
  sealedFor: SealedFor,
  values: readonly SecretValue[],
): SealedSecrets {
  const own = generateKeyPairSync("x25519");
  const ephemeralPublicKey = rawPublicKey(own.publicKey);
  const theirs = createPublicKey({ key: Buffer.concat([spkiPrefix, publicKey]), format: "der", type: "spki" });
  const shared = diffieHellman({ privateKey: own.privateKey, publicKey: theirs });
  const context = contextOf(sealedFor);
  const key = keyOf({ shared, ephemeralPublicKey, publicKey, context });
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(context);
  const clear = toBinary(SecretValuesSchema, create(SecretValuesSchema, { values: [...values] }));
  const ciphertext = Buffer.concat([cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
  return create(SealedSecretsSchema, { ephemeralPublicKey, ciphertext });
}

/** @throws MillraceError failed_precondition when it was sealed to another key, for another attempt, or was changed */
export function openSecrets(
  { privateKey, publicKey }: SealingKey,
  sealedFor: SealedFor,
  { ephemeralPublicKey, ciphertext }: SealedSecrets,
): SecretValue[] {
  try {
    const theirs = createPublicKey({
      key: Buffer.concat([spkiPrefix, ephemeralPublicKey]),
      format: "der",
      type: "spki",
    });
    const shared = diffieHellman({ privateKey: privateKeyOf(privateKey), publicKey: theirs });
    const context = contextOf(sealedFor);
    const key = keyOf({ shared, ephemeralPublicKey, publicKey, context });
    const end = ciphertext.byteLength - tagBytes;
    const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes });
    decipher.setAAD(context).setAuthTag(ciphertext.subarray(end));
    const clear = Buffer.concat([decipher.update(ciphertext.subarray(0, end)), decipher.final()]);
    return fromBinary(SecretValuesSchema, clear).values;
  } catch (error) {
    const { executionId, agentId } = sealedFor;
    const message = `the secrets of ${executionId} are not sealed to this key of ${agentId}, or were changed on their way`;
    throw new MillraceError("failed_precondition", message, { cause: error });
  }
}

interface KeyParts {
  readonly shared: Buffer;
  readonly ephemeralPublicKey: Uint8Array;
  readonly publicKey: Uint8Array;
  readonly context: Buffer;
}

function keyOf({ shared, ephemeralPublicKey, publicKey, context }: KeyParts): Buffer {
  const salt = Buffer.concat([ephemeralPublicKey, publicKey]);
  return Buffer.from(hkdfSync("sha256", shared, salt, context, 32));
}

/** No two attempts have the same: ids hold no zero byte. */
function contextOf({ agentId, executionId, epoch }: SealedFor): Buffer {
  return Buffer.from(["millrace secrets 1", agentId, executionId, epoch.term, epoch.number].join("\0"));
}

function privateKeyOf(text: string): KeyObject {
  return createPrivateKey({ key: Buffer.from(text, "base64"), format: "der", type: "pkcs8" });
}

function rawPublicKey(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: "der", type: "spki" }).subarray(spkiPrefix.byteLength));
}
