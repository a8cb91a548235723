import { configureGlobal } from "fast-check";

/** What `npm run test:properties` multiplies the cases of each property by. */
const factor = Number(process.env["MILLRACE_PROPERTY_FACTOR"] ?? 1);

/** For a property whose number of cases is not the usual 100. */
export function runs(count: number): number {
  return count * factor;
}

/**
 * `npm test` draws the same cases each time: it judges the change and not the luck of a draw. `npm run test:properties`
 * looks for new ones with a seed of its own. A property that fails prints its seed; `MILLRACE_PROPERTY_SEED` repeats it.
 */
configureGlobal({ seed: Number(process.env["MILLRACE_PROPERTY_SEED"] ?? 20_261_128), numRuns: runs(100) });
