import { contentLimits } from "./limits/content.ts";
import { dispatchLimits } from "./limits/dispatch.ts";
import { machineLimits } from "./limits/machines.ts";
import { runLimits } from "./limits/runs.ts";

/**
 * Every bound of the product, with its unit and its reason, in four tables. A queue, map, message, loop or retry without an
 * entry in one of them is a defect.
 */
export const limits = { ...contentLimits, ...dispatchLimits, ...runLimits, ...machineLimits };
