/** Given by deploy/build-single-file.ts, which can build for a version other than the one that is written here. */
declare const MILLRACE_VERSION: string | undefined;

/** Of coordinator, agents and CLI alike; equal to package.json's, as a test holds. */
export const version: string = typeof MILLRACE_VERSION === "string" ? MILLRACE_VERSION : "0.1.0";

/** Whether an agent of that version works with this coordinator: same major, same minor or the one before. */
export function fitsVersion(agent: string): boolean {
  const theirs = parse(agent);
  const ours = parse(version);
  if (theirs === undefined || ours === undefined) return false;
  return theirs.major === ours.major && (theirs.minor === ours.minor || theirs.minor === ours.minor - 1);
}

function parse(text: string): { major: number; minor: number } | undefined {
  const match = /^(\d+)\.(\d+)\.\d+/.exec(text);
  return match === null ? undefined : { major: Number(match[1]), minor: Number(match[2]) };
}
