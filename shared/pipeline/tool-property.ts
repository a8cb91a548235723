/** In front of a tool's name in a platform property; no label can begin like this, since it has a colon. */
const prefix = "tool:";

/** The platform property whose value is the fingerprint of a tool. */
export function toolProperty(name: string): string {
  return `${prefix}${name}`;
}

/** The tool that a platform property speaks of; undefined when it is no property of a tool. */
export function toolOfProperty(property: string): string | undefined {
  return property.startsWith(prefix) ? property.slice(prefix.length) : undefined;
}
