import type { Position } from "./pipeline.ts";

/** Every scalar is text as written: `1.10` stays `1.10`, and what it means is decided by the key it stands under. */
export type YamlValue = string | readonly YamlValue[] | { readonly [key: string]: YamlValue };

/** Keys and indexes from the top of the file to a value. */
export type YamlPath = readonly (string | number)[];

/** A YAML file as plain values, and where each of them stands. */
export interface YamlSource {
  readonly value: YamlValue;
  /** Of the key that the path ends in, or of its value; of the nearest one above where that does not exist. */
  position(path: YamlPath, part: "key" | "value"): Position;
  /** Keys of the mapping at the path in file order, which plain objects do not keep for keys such as `2`; else none. */
  keys(path: YamlPath): readonly string[];
}
