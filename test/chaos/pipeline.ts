import type { Escape, Round } from "./plan.ts";

const lines = 50;

/** What `numbers` and `other` print. */
export const wholeOutput = `${Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join("")}done\n`;

/** Prints it, and takes a while. */
const count = `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo $i; sleep 0.01; done; echo done`;

/** Leaves a process behind whose command tells it from all others of the machine. */
function escaping(escape: Escape, nonce: string): string {
  const stay = `sh -c 'sleep 600; : ${nonce}'`;
  switch (escape) {
    case "none":
      return ":";
    case "setsid":
      return `setsid ${stay} &`;
    case "set-m":
      return `(set -m; ${stay} &)`;
    case "double-fork":
      return `( ( ${stay} & ) & )`;
    default:
      return escape satisfies never;
  }
}

/**
 * Two tasks that print numbers, for an agent with one slot; then one that looks at what the first made. `stamp` is unlike
 * in each attempt: it tells whose result was kept.
 */
export function pipelineOf({ escape, nonce }: Pick<Round, "escape" | "nonce">): string {
  return `name: chaos
stages:
  work:
    tasks:
      numbers:
        run: |
          ${escaping(escape, nonce)}
          sha256sum < input > made
          date +%s%N > stamp
          head -c 20000000 /dev/urandom > bulk
          ${count}
        inputs: [input]
        outputs: { made: made, stamp: stamp, bulk: bulk }
      other:
        run: |
          : ${nonce}
          ${count}
        inputs: []
        cache: false
  after:
    needs: [work]
    tasks:
      check:
        run: |
          cat made
          [ "$(sha256sum < input)" = "$(cat made)" ]
          [ "$(wc -c < bulk)" = 20000000 ]
        inputs: [input]
        use: [made, bulk]
`;
}
