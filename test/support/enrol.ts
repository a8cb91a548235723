import { randomBytes } from "node:crypto";
import type { Client } from "@connectrpc/connect";
import type { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { newBusKey } from "../../shared/bus/bus-key.ts";
import { newSecret, secretHash } from "../../shared/rpc/secret.ts";

/** What an agent makes before it asks to be let in. */
export interface NewKeys {
  readonly seed: string;
  readonly publicKey: string;
  readonly secret: string;
}

export function newKeys(): NewKeys {
  return { ...newBusKey(), secret: newSecret() };
}

/** Asks for an agent to be let in, as the agent does; gives its keys once it is. */
export async function enrol(
  agents: Pick<Client<typeof AgentService>, "enrolAgent">,
  { id, keys = newKeys() }: { readonly id: string; readonly keys?: NewKeys },
): Promise<NewKeys> {
  const secretSha256 = Buffer.from(secretHash(keys.secret), "hex");
  await agents.enrolAgent({ id, hostname: "test", natsPublicKey: keys.publicKey, secretSha256 });
  return keys;
}

/** Public keys of users that nobody has the seeds of, made quickly: an nkey is a prefix, 32 bytes and a checksum. */
export function madeUpPublicKeys(count: number): string[] {
  return Array.from({ length: count }, () => {
    const body = Buffer.concat([Buffer.of(20 << 3), randomBytes(32)]);
    const checksum = Buffer.alloc(2);
    checksum.writeUInt16LE(crc16(body));
    return base32(Buffer.concat([body, checksum]));
  });
}

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) crc = ((crc & 0x8000) === 0 ? crc << 1 : (crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc;
}

/** RFC 4648 without padding: 35 bytes are 56 characters. */
function base32(bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join("");
  return (bits.match(/.{5}/g) ?? [])
    .map((five) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[Number.parseInt(five, 2)])
    .join("");
}
