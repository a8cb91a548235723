import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { foldersToMake, promisedOutputs, workingDirectory } from "../../../agent/executor/output-paths.ts";
import { CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";

const command = (init: MessageInitShape<typeof CommandSchema>) => create(CommandSchema, init);

describe("the outputs that a Command promises", () => {
  test("are relative to its working directory, and named as the Command names them", () => {
    const outputs = promisedOutputs(command({ workingDirectory: "a/b", outputPaths: ["c", "../d/e", ""] }));
    expect(outputs).toEqual([
      { path: "c", fromRoot: "a/b/c" },
      { path: "../d/e", fromRoot: "a/d/e" },
      { path: "", fromRoot: "a/b" },
    ]);
  });

  test("come from the older fields only when output_paths is empty", () => {
    const older = { outputFiles: ["f"], outputDirectories: ["d"] };
    expect(promisedOutputs(command(older)).map(({ path }) => path)).toEqual(["f", "d"]);
    expect(promisedOutputs(command({ ...older, outputPaths: ["p"] })).map(({ path }) => path)).toEqual(["p"]);
  });

  test("must not lead out of the input root", () => {
    for (const path of ["..", "../x", "a/../../x", "/etc/passwd", "a\0b"]) {
      expect(() => promisedOutputs(command({ outputPaths: [path] })), path).toThrow(/leads out of the input root/);
    }
    expect(() => workingDirectory(command({ workingDirectory: "/" }))).toThrow(/leads out/);
  });

  test("whatever the path, it is refused or lies below the root", () => {
    const part = fc.constantFrom("..", ".", "", "a", "b.c", "...");
    const path = fc.array(part, { maxLength: 6 }).map((parts) => parts.join("/"));
    fc.assert(
      fc.property(path, path, (working, output) => {
        try {
          const [promised] = promisedOutputs(command({ workingDirectory: working, outputPaths: [output] }));
          expect(promised?.fromRoot.split("/")).not.toContain("..");
          expect(promised?.fromRoot.startsWith("/")).toBe(false);
        } catch (error) {
          expect(String(error)).toMatch(/leads out/);
        }
      }),
    );
  });

  test("get their parents made, and the working directory, each once and never the root", () => {
    const made = foldersToMake(command({ workingDirectory: "w", outputPaths: ["x/y", "x/z", "../top", "here"] }));
    expect(made.sort()).toEqual(["w", "w/x"]);
  });
});
