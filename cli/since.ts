const unitsMs = new Map([
  ["s", 1_000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
]);

/** The wall time in milliseconds that `90s`, `5m`, `2h`, `1d` ago or an ISO time names; undefined for anything else. */
export function parseSince(text: string, nowMs: number): number | undefined {
  const [, count, unit = ""] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const unitMs = unitsMs.get(unit);
  if (count !== undefined && unitMs !== undefined) return nowMs - Number(count) * unitMs;
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return undefined;
  const timeMs = Date.parse(text);
  return Number.isNaN(timeMs) ? undefined : timeMs;
}
