import { MillraceError } from "../../../shared/errors.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import { limits } from "../../../shared/limits.ts";
import type { PoolSettings } from "./pools.ts";

/** @throws MillraceError invalid_argument naming everything that is wrong; the bounds are those of `pool.proto` */
export function checkSettings(settings: PoolSettings): void {
  const problems = [...boundProblems(settings), ...timeProblems(settings), ...agentProblems(settings)];
  if (problems.length > 0)
    throw new MillraceError("invalid_argument", `pool "${settings.name}": ${problems.join("; ")}`);
}

/** @throws MillraceError invalid_argument */
export function checkBounds(settings: Pick<PoolSettings, "name" | "min" | "max">): void {
  const problems = boundProblems(settings);
  if (problems.length > 0)
    throw new MillraceError("invalid_argument", `pool "${settings.name}": ${problems.join("; ")}`);
}

function boundProblems({ min, max }: Pick<PoolSettings, "min" | "max">): string[] {
  return [
    ...(min < 0 ? [`min is ${min}, below 0`] : []),
    ...(max > poolLimits.agents ? [`max is ${max}, above ${poolLimits.agents}`] : []),
    ...(max < min ? [`max is ${max}, below min, which is ${min}`] : []),
  ];
}

function timeProblems({ targetWaitMs, idleTimeoutMs, joinTimeoutMs }: PoolSettings): string[] {
  const times = [
    ["the target wait", targetWaitMs, poolLimits.timeMaxMs],
    ["the idle time-out", idleTimeoutMs, poolLimits.timeMaxMs],
    ["the join time-out", joinTimeoutMs, poolLimits.joinTimeoutMaxMs],
  ] as const;
  return times
    .filter(([, valueMs, mostMs]) => valueMs < 1_000 || valueMs > mostMs)
    .map(([what, valueMs, mostMs]) => `${what} is ${valueMs / 1000} s, not 1 s to ${mostMs / 3_600_000} h`);
}

function agentProblems({ name, slots, ephemeral, labels, provider }: PoolSettings): string[] {
  const names = Object.keys(labels);
  const words = provider.kind === "exec" ? provider.command : [];
  return [
    ...(/^[a-z0-9-]{1,48}$/.test(name) ? [] : [`its name is not 1 to 48 of a-z, 0-9 and "-"`]),
    ...(slots < 1 || slots > limits.agentSlots ? [`slots is ${slots}, not 1 to ${limits.agentSlots}`] : []),
    ...(ephemeral && slots > 1 ? [`an ephemeral agent has one slot, not ${slots}`] : []),
    ...(names.length > poolLimits.labels ? [`it has ${names.length} labels, more than ${poolLimits.labels}`] : []),
    ...names
      .filter((label) => !isLabel(label, labels[label]))
      .map((label) => `${label} is no label: name=value, without spaces`),
    ...names
      .filter((label) => label === "pool" || label === "agent")
      .map((label) => `the label ${label} is given by the farm`),
    ...(provider.kind === "exec" && words.length === 0 ? ["exec needs a command"] : []),
    ...(words.length > poolLimits.commandWords ? [`its command has more than ${poolLimits.commandWords} words`] : []),
    ...words
      .filter((word) => Buffer.byteLength(word) > poolLimits.commandWordBytes || word.includes("\0"))
      .map(
        (word) =>
          `a word of its command is longer than ${poolLimits.commandWordBytes} bytes or no text: ${word.slice(0, 40)}`,
      ),
  ];
}

function isLabel(name: string, value = ""): boolean {
  return /^[^=\s]{1,256}$/.test(name) && /^\S{0,256}$/.test(value);
}
