/**
 * Where something stands in a list that is in order, or would have to be put, from 0: before the first that is not before it.
 * @param isBefore whether one of the list comes before it
 */
export function placeInOrder<T>(list: readonly T[], isBefore: (other: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const other = list[middle];
    if (other !== undefined && isBefore(other)) low = middle + 1;
    else high = middle;
  }
  return low;
}
