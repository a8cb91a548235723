import { blotted, type MaskStream, maskStream } from "./mask-stream.ts";
import { compilePatterns, type NamedSecret } from "./patterns.ts";

/** Hides the secrets of one task wherever they come up. */
export interface Masking {
  /** There is nothing to hide. */
  readonly isEmpty: boolean;
  /** @param onFound told, by name, of each secret that is seen */
  stream(onFound?: (secret: string) => void): MaskStream;
  /** A whole text, masked. */
  text(text: string): string;
}

export function masking(secrets: readonly NamedSecret[]): Masking {
  const patterns = compilePatterns(secrets);
  return {
    isEmpty: patterns.isEmpty,
    stream: (onFound) => (patterns.isEmpty ? through((chunk) => chunk) : maskStream(patterns, onFound)),
    text: (text) => (patterns.isEmpty ? text : whole(maskStream(patterns), text)),
  };
}

/** Hides everything but where lines end, where nobody knows what the secrets are. */
export function maskingAll(): Masking {
  const stream = () => through(blotted);
  return { isEmpty: false, stream, text: (text) => whole(stream(), text) };
}

function through(each: (chunk: Uint8Array) => Uint8Array): MaskStream {
  return { push: each, end: () => new Uint8Array() };
}

function whole(stream: MaskStream, text: string): string {
  return Buffer.concat([stream.push(Buffer.from(text)), stream.end()]).toString();
}
