import { limits } from "../limits.ts";
import { suggest } from "./did-you-mean.ts";
import { entriesOf, type Located, type LocatedMap, memberOf, mergeLocated, withEntries } from "./located.ts";
import type { LocatedReport } from "./located-report.ts";

/** A task with its template written out. */
export interface Templated {
  readonly task: Located;
  /** Declarations of the template's parameters; undefined when it has none. */
  readonly params: Located | undefined;
  /** Values that the task gives them. */
  readonly given: Located | undefined;
}

/**
 * Puts the template that a task names under it: mappings are joined key by key, and for everything else the task's own
 * value counts. A template may build on another in the same way. What it cannot resolve is reported and left out.
 */
export function applyTemplate(task: Located, templates: Located | undefined, report: LocatedReport): Templated {
  let merged = task;
  const chain: string[] = [];
  let isWhole = true;
  for (let name = memberOf(merged, "template"); name !== undefined; name = memberOf(merged, "template")) {
    if (merged.kind !== "map" || name.kind !== "text") break;
    const own: LocatedMap = withEntries(merged, { template: undefined });
    const template = entriesOf(templates).get(name.text)?.value;
    const before = chain.indexOf(name.text);
    chain.push(name.text);
    merged = own;
    isWhole = template !== undefined && before < 0 && chain.length <= limits.includeDepth;
    if (template === undefined) {
      const known = [...entriesOf(templates).keys()];
      report(name.at, `there is no template "${name.text}"`, suggest(name.text, known, "templates"));
    } else if (before >= 0) {
      const circle = chain.slice(before).join(" → ");
      report(name.at, `templates build on each other in a circle: ${circle}`, "remove one of these");
    } else if (!isWhole) {
      const message = `more than ${limits.includeDepth} templates build on each other in a chain`;
      report(name.at, message, "put some of them together");
    } else {
      merged = mergeLocated(template, own);
    }
  }
  const [params, given] = [memberOf(merged, "params"), memberOf(merged, "with")];
  if (chain.length === 0 || merged.kind !== "map") return { task: merged, params: undefined, given };
  const plain = withEntries(merged, { params: undefined, with: undefined });
  // Whose template was not found is not told about its values as well.
  return isWhole ? { task: plain, params, given } : { task: plain, params: undefined, given: undefined };
}
