/** More names than anybody overlooks one among; comparing is quadratic in the length of names. */
const candidatesMax = 500;
/** No name is longer; comparing is quadratic in the length, too. */
const lettersMax = 100;

/** The candidate that was probably meant: at most a third of the letters wrong. Undefined when nothing is close. */
export function didYouMean(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > lettersMax) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates.slice(0, candidatesMax)) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const distance = editDistance(word, candidate);
    if (distance >= bestDistance) continue;
    bestDistance = distance;
    best = candidate;
  }
  return best;
}

/** Asks for the close one; of letters that only look the same, it says which. */
export function meant(word: string, close: string): string {
  const foreign = [...word].find((letter) => /[^\x20-\x7e]/.test(letter) && !close.includes(letter));
  const alike = foreign === undefined ? "" : ` "${foreign}" is ${codePointOf(foreign)} and no letter of it`;
  return `did you mean "${close}"?${alike}`;
}

function codePointOf(letter: string): string {
  return `U+${letter.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** A hint for an unknown name: the close one, else the first of those that there are. */
export function suggest(word: string, candidates: readonly string[], what: string): string {
  const close = didYouMean(word, candidates);
  if (close !== undefined) return meant(word, close);
  if (candidates.length === 0) return `there are no ${what}`;
  const shown = candidates.slice(0, 12).join(", ");
  return `${what}: ${shown}${candidates.length > 12 ? `, and ${candidates.length - 12} more` : ""}`;
}

/** Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours each count 1. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    before = previous;
    previous = row;
  }
  return previous[b.length] ?? 0;
}
