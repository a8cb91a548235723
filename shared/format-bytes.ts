/** 812 B, 3.4 KiB, 1.2 GiB. */
export function formatBytes(sizeBytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  if (sizeBytes < 1_024) return `${sizeBytes} B`;
  let value = sizeBytes / 1_024;
  let unit = 0;
  while (value >= 1_023.95 && unit < units.length - 1) {
    value /= 1_024;
    unit += 1;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}
