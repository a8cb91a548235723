/** Work that is begun in the order in which it came, a bounded number of pieces at a time. */
export interface BoundedWork {
  add(piece: () => Promise<void>): void;
}

/**
 * @param atOnce pieces that may be under way at one time; those that wait are as many as somebody adds
 * @param onError is told of a piece that failed; the others go on
 */
export function boundedWork(atOnce: number, onError: (error: unknown) => void): BoundedWork {
  const waiting: (() => Promise<void>)[] = [];
  let underWay = 0;

  function next(): void {
    if (underWay >= atOnce) return;
    const piece = waiting.shift();
    if (piece === undefined) return;
    underWay += 1;
    piece()
      .catch(onError)
      .finally(() => {
        underWay -= 1;
        next();
      });
  }

  return {
    add(piece) {
      waiting.push(piece);
      next();
    },
  };
}
