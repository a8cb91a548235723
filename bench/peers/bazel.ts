import { join } from "node:path";
import { type Figure, must, timed } from "../bench.ts";
import { writeProject } from "../bench-farm.ts";
import { runProgram } from "../run-program.ts";
import { peerProgram } from "./peers.ts";

const actions = 500;
const runs = 5;

/** So many genrules, first from nothing, then with nothing to do; its server runs before and stays, as our farm does. */
export async function bazelFigures(scratch: string): Promise<Figure[]> {
  const name = `peer: bazel, ${actions} actions`;
  const program = peerProgram("bazel");
  if (program === undefined) {
    const note = "not installed: it goes into the system with a JDK, by `apt-get install bazel-bootstrap`";
    return [{ name: `${name}, nothing to do`, unit: "ms", samples: [], target: "", note }];
  }
  const dir = join(scratch, "bazel");
  writeProject(dir, { WORKSPACE: 'workspace(name = "bench")\n', BUILD: rules() });
  const bazel = (...args: string[]) =>
    runProgram(program, [`--output_user_root=${join(scratch, "bazel-output")}`, ...args], { cwd: dir });
  try {
    await bazel("info"); // starts the server
    let said = "";
    const coldMs = await timed(async () => {
      said = await bazel("build", "//...");
    });
    must(said.includes(`${actions + 1} total actions`), `bazel did something else: ${said}`);
    const samples: number[] = [];
    for (let run = 0; run <= runs; run += 1) {
      const tookMs = await timed(async () => {
        said = await bazel("build", "//...");
      });
      must(/\b1 total action\b/.test(said), `bazel found something to do: ${said}`);
      if (run > 0) samples.push(tookMs); // the first warms up, as with ours
    }
    return [
      { name: `${name}, nothing to do`, unit: "ms", samples, target: "" },
      { name: `${name}, cold`, unit: "ms", samples: [coldMs], target: "" },
    ];
  } finally {
    await bazel("shutdown");
  }
}

function rules(): string {
  const lines = Array.from(
    { length: actions },
    (_, index) => `genrule(name = "g${index}", outs = ["o${index}.txt"], cmd = "echo ${index} > $@")`,
  );
  return `${lines.join("\n")}\n`;
}
