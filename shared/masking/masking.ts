import { type MaskStream, maskStream } from "./mask-stream.ts";
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
    stream: (onFound) => maskStream(patterns, onFound),
    text(text) {
      if (patterns.isEmpty) return text;
      const stream = maskStream(patterns);
      return Buffer.concat([stream.push(Buffer.from(text)), stream.end()]).toString();
    },
  };
}
