import type { NetworkRound, PlannedWork } from "./network-plan.ts";

/** What a task prints. */
export function outputOf({ name, lines }: PlannedWork): string {
  return Array.from({ length: lines }, (_, index) => `${name} ${index + 1}\n`).join("");
}

/** What a task leaves: its name after all that it has read. */
export function artifactOf(work: PlannedWork, all: ReadonlyMap<string, PlannedWork>): string {
  const read = work.uses.map((name) => {
    const used = all.get(name);
    return used === undefined ? "" : artifactOf(used, all);
  });
  return `${read.join("")}${work.name}\n`;
}

/** All in one stage. Each task checks the input that all of them share, which is where a damaged blob would show. */
export function networkPipeline({ nonce, tasks }: NetworkRound, inputSha256: string): string {
  return `name: network
stages:
  work:
    tasks:
${tasks.map((work) => taskOf(work, nonce, inputSha256)).join("")}`;
}

function taskOf({ name, uses, lines, ms }: PlannedWork, nonce: string, inputSha256: string): string {
  const made = uses.map((used) => `in/${used}`).join(" ");
  const use = uses.map((used) => `{ artifact: ${used}, path: in/${used} }`).join(", ");
  return `      ${name}:
        run: |
          : ${nonce}
          i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo "${name} $i"; done
          sleep ${(ms / 1000).toFixed(3)}
          echo "${inputSha256}  input" | sha256sum -c --quiet
          { cat ${made} /dev/null; echo ${name}; } > out
        inputs: [input]
        outputs: { ${name}: out }
        use: [${use}]
        cache: false
`;
}
