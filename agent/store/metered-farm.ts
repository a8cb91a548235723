import type { Cas } from "../../shared/cas/cas.ts";

/** Tells how many bytes were read. */
export function meteredFarm(
  base: Pick<Cas, "read" | "readMany">,
  onFetched: (sizeBytes: number) => void,
): Pick<Cas, "read" | "readMany"> {
  return {
    async *read(...call) {
      for await (const chunk of base.read(...call)) {
        onFetched(chunk.byteLength);
        yield chunk;
      }
    },
    async readMany(...call) {
      const found = await base.readMany(...call);
      for (const data of found.values()) onFetched(data.byteLength);
      return found;
    },
  };
}
