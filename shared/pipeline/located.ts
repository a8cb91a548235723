import type { Position } from "./pipeline.ts";
import type { YamlPath, YamlSource, YamlValue } from "./yaml-value.ts";

// A YAML document as a tree of values that each know where they were written. Rewriting is what templates, includes and
// matrices do to it: new trees share the nodes of old ones, so whatever is wrong with a value leads to its text.

/** Where something was written. */
export interface Place {
  readonly document: PlacedDocument;
  readonly offset: number;
}

/** A file, as places need it. */
export interface PlacedDocument {
  readonly file: string;
  position(offset: number): Position;
}

export type Located = LocatedText | LocatedList | LocatedMap;

/** A scalar, as it is written. */
export interface LocatedText {
  readonly kind: "text";
  readonly text: string;
  readonly at: Place;
}

/** A sequence. */
export interface LocatedList {
  readonly kind: "list";
  readonly items: readonly Located[];
  readonly at: Place;
}

/** A mapping. */
export interface LocatedMap {
  readonly kind: "map";
  /** In file order, which plain objects do not keep for keys such as `2`. */
  readonly entries: ReadonlyMap<string, LocatedEntry>;
  readonly at: Place;
}

/** A key, where it stands, and its value. */
export interface LocatedEntry {
  readonly key: Place;
  readonly value: Located;
}

export function locatedText(text: string, at: Place): LocatedText {
  return { kind: "text", text, at };
}

/** The value of a key of a mapping; undefined for another kind of node and for a key that is not there. */
export function memberOf(node: Located | undefined, key: string): Located | undefined {
  return entriesOf(node).get(key)?.value;
}

/** None for what is no mapping. */
export function entriesOf(node: Located | undefined): ReadonlyMap<string, LocatedEntry> {
  return node?.kind === "map" ? node.entries : noEntries;
}

const noEntries: ReadonlyMap<string, LocatedEntry> = new Map();

/** The texts of a list; what is no text is left out, and said elsewhere. */
export function textsOf(node: Located | undefined): readonly LocatedText[] {
  return node?.kind === "list" ? node.items.flatMap((item) => (item.kind === "text" ? [item] : [])) : [];
}

/** With these keys set, in their place or at the end; `undefined` removes one. */
export function withEntries(map: LocatedMap, changes: Readonly<Record<string, LocatedEntry | undefined>>): LocatedMap {
  const entries = new Map(map.entries);
  for (const [key, entry] of Object.entries(changes)) {
    if (entry === undefined) entries.delete(key);
    else entries.set(key, entry);
  }
  return { ...map, entries };
}

/** What `over` says, and where both are mappings, key by key; what only one of them has stays. Nothing else is joined. */
export function mergeLocated(under: Located, over: Located): Located {
  if (under.kind !== "map" || over.kind !== "map") return over;
  const entries = new Map(under.entries);
  for (const [key, entry] of over.entries) {
    const below = entries.get(key);
    entries.set(key, below === undefined ? entry : { ...entry, value: mergeLocated(below.value, entry.value) });
  }
  return { ...over, entries };
}

/** Plain values; nodes that a tree has several times become one value. */
export function plainValue(node: Located, known: Map<Located, YamlValue> = new Map()): YamlValue {
  if (node.kind === "text") return node.text;
  const present = known.get(node);
  if (present !== undefined) return present;
  const value =
    node.kind === "list"
      ? node.items.map((item) => plainValue(item, known))
      : Object.fromEntries([...node.entries].map(([key, entry]) => [key, plainValue(entry.value, known)]));
  known.set(node, value);
  return value;
}

/** A place as a person reads it. `file` is left out where it is the one that everything is relative to. */
export function positionOf({ document, offset }: Place, mainFile: string): Position {
  const position = document.position(offset);
  return document.file === mainFile ? position : { ...position, file: document.file };
}

/** A tree as the checks of shape and references read it. */
export function locatedSource(top: Located, mainFile: string): YamlSource {
  function find(path: YamlPath) {
    let key: Place | undefined;
    let node = top;
    for (const step of path) {
      const entry =
        node.kind === "map" ? node.entries.get(String(step)) : node.kind === "list" ? item(node, step) : undefined;
      if (entry === undefined) return { key, node, whole: false };
      ({ key, value: node } = entry);
    }
    return { key, node, whole: true };
  }

  return {
    value: plainValue(top),
    position(path, part) {
      const { key, node, whole } = find(path);
      return positionOf(part === "value" && whole ? node.at : (key ?? node.at), mainFile);
    },
    keys(path) {
      const { node, whole } = find(path);
      return whole ? [...entriesOf(node).keys()] : [];
    },
  };
}

function item(list: LocatedList, step: string | number): LocatedEntry | undefined {
  const value = list.items[Number(step)];
  return value === undefined ? undefined : { key: value.at, value };
}
