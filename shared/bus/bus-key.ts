import { nkeys } from "nats";

/** With what a party signs in on the bus: the seed stays with it, the public key is what the server knows. */
export interface BusKey {
  readonly seed: string;
  readonly publicKey: string;
}

/** An nkey of a user: Ed25519 from the system's randomness. */
export function newBusKey(): BusKey {
  const pair = nkeys.createUser();
  return { seed: new TextDecoder().decode(pair.getSeed()), publicKey: pair.getPublicKey() };
}

/** Whether it is the public key of a user, its checksum included. */
export function isBusPublicKey(text: string): boolean {
  if (!/^U[A-Z2-7]{55}$/.test(text)) return false;
  try {
    nkeys.fromPublic(text);
    return true;
  } catch {
    return false; // the checksum does not fit
  }
}
