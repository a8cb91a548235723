/** Given by deploy/build-single-file.ts, which can build for a version other than the one that is written here. */
declare const MILLRACE_VERSION: string | undefined;

/** Of coordinator, agents and CLI alike; equal to package.json's, as a test holds. */
export const version: string = typeof MILLRACE_VERSION === "string" ? MILLRACE_VERSION : "0.1.0";

/** What an agent says among its features when it can exchange its own program for another version. */
export const upgradeFeature = "upgrade:self";

/** Whether an agent of that version works with this coordinator: same major, same minor or the one before. */
export function fitsVersion(agent: string): boolean {
  const theirs = parse(agent);
  const ours = parse(version);
  if (theirs === undefined || ours === undefined) return false;
  return theirs.major === ours.major && (theirs.minor === ours.minor || theirs.minor === ours.minor - 1);
}

/** Whether `version` comes after `other`; false when either is no version. */
export function isNewerVersion(version: string, other: string): boolean {
  const [a, b] = [parse(version), parse(other)];
  if (a === undefined || b === undefined) return false;
  if (a.major !== b.major) return a.major > b.major;
  return a.minor === b.minor ? a.patch > b.patch : a.minor > b.minor;
}

function parse(text: string): { major: number; minor: number; patch: number } | undefined {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(text);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3]) };
}
