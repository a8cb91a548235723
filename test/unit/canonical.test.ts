import { create, toBinary } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  ActionSchema,
  CommandSchema,
  PlatformSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { digestOf, digestToMessage } from "../../shared/digest.ts";
import { buildTree } from "../../shared/merkle/build-tree.ts";
import { encodeTree } from "../../shared/merkle/tree-message.ts";
import { canonicalProblems, reencode, type Shape, shapes, treeShape } from "../support/canonical-wire.ts";
import { digests, trees } from "../support/tree-arbitraries.ts";

function expectCanonical(bytes: Uint8Array, shape: Shape): void {
  expect(canonicalProblems(bytes, shape)).toEqual([]);
  expect(reencode(bytes, shape)).toEqual(bytes);
}

/** `hex` with spaces and comments for the reader. */
const hex = (text: string) => Uint8Array.from(Buffer.from(text.replace(/#.*$/gm, "").replace(/\s/g, ""), "hex"));
const ascii = (text: string) => Buffer.from(text).toString("hex");

describe("what we encode is canonical", () => {
  test("every Directory and every Tree", () => {
    fc.assert(
      fc.property(trees(), (entries) => {
        const tree = buildTree(entries);
        for (const { digest, data } of tree.directories.values()) {
          expectCanonical(data, shapes.directory);
          expect(digestOf(data)).toEqual(digest);
        }
        expectCanonical(encodeTree(tree), treeShape);
      }),
    );
  });

  test("every Action", () => {
    const properties = fc.array(fc.record({ name: fc.string(), value: fc.string() }), { maxLength: 3 });
    const arbitrary = fc.record(
      {
        command: digests,
        root: digests,
        seconds: fc.integer({ min: 0, max: 86_400 }),
        doNotCache: fc.boolean(),
        salt: fc.uint8Array({ maxLength: 8 }),
        properties,
      },
      { requiredKeys: ["command", "root"] },
    );
    fc.assert(
      fc.property(arbitrary, ({ command, root, seconds, doNotCache, salt, properties: unsorted }) => {
        const sorted = unsorted?.toSorted(
          (a, b) =>
            Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) ||
            Buffer.compare(Buffer.from(a.value), Buffer.from(b.value)),
        );
        const action = create(ActionSchema, {
          commandDigest: digestToMessage(command),
          inputRootDigest: digestToMessage(root),
          ...(seconds === undefined ? {} : { timeout: create(DurationSchema, { seconds: BigInt(seconds) }) }),
          ...(doNotCache === undefined ? {} : { doNotCache }),
          ...(salt === undefined ? {} : { salt }),
          ...(sorted === undefined ? {} : { platform: create(PlatformSchema, { properties: sorted }) }),
        });
        expectCanonical(toBinary(ActionSchema, action), shapes.action);
      }),
    );
  });

  test("every Command", () => {
    const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));
    const names = fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 4 });
    fc.assert(
      fc.property(fc.array(fc.string()), names, names, fc.string(), (args, variables, outputs, workingDirectory) => {
        const command = create(CommandSchema, {
          arguments: args,
          environmentVariables: variables.toSorted(byBytes).map((name) => ({ name, value: "" })),
          outputPaths: outputs.toSorted(byBytes),
          workingDirectory,
        });
        expectCanonical(toBinary(CommandSchema, command), shapes.command);
      }),
    );
  });
});

describe("bytes worked out by hand", () => {
  const hello = { hash: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", sizeBytes: 5 };
  const helloDigest = `0a 40 ${ascii(hello.hash)} 10 05`;

  test("a plain file, an executable and a symlink", () => {
    const tree = buildTree([
      { path: "run", node: { kind: "file", digest: hello, executable: true } },
      { path: "data", node: { kind: "file", digest: hello, executable: false } },
      { path: "link", node: { kind: "symlink", target: "data" } },
    ]);
    expect([...tree.directories.values()][0]?.data).toEqual(
      hex(`
        0a 4c                            # files, 76 bytes
          0a 04 ${ascii("data")}         # name
          12 44 ${helloDigest}           # digest, 68 bytes; is_executable is left out
        0a 4d                            # files, 77 bytes
          0a 03 ${ascii("run")}
          12 44 ${helloDigest}
          20 01                          # is_executable
        1a 0c                            # symlinks
          0a 04 ${ascii("link")}
          12 04 ${ascii("data")}
      `),
    );
  });

  test("a Tree of one file in one directory", () => {
    const tree = buildTree([{ path: "d/f", node: { kind: "file", digest: hello, executable: false } }]);
    const child = hex(`0a 49 0a 01 ${ascii("f")} 12 44 ${helloDigest}`);
    const { hash, sizeBytes } = digestOf(child);
    const root = hex(`12 49 0a 01 ${ascii("d")} 12 44 0a 40 ${ascii(hash)} 10 ${sizeBytes.toString(16)}`);
    expect(encodeTree(tree)).toEqual(Uint8Array.from([0x0a, root.length, ...root, 0x12, child.length, ...child]));
    expect(tree.root).toEqual(digestOf(root));
  });

  test("an empty tree is no bytes at all, and its Tree an empty root", () => {
    const tree = buildTree([]);
    expect(tree.root).toEqual(digestOf(new Uint8Array()));
    expect(encodeTree(tree)).toEqual(hex("0a 00"));
  });
});

describe("the checker itself notices", () => {
  const file = (name: string, rest = "") => {
    const node = hex(`0a 01 ${ascii(name)} ${rest}`);
    return `0a ${node.length.toString(16).padStart(2, "0")} ${Buffer.from(node).toString("hex")}`;
  };
  test.each([
    ["a default that was written", file("a", "20 00"), "holds its default"],
    ["an unsorted list", file("b") + file("a"), "is not sorted"],
    ["a name twice", file("a") + file("a"), "has a name twice"],
    ["fields out of order", `12 03 0a 01 ${ascii("d")} ${file("a")}`, "stands behind field 2"],
    ["a field that is not there", "2a 00", "is no field"],
  ])("%s", (_, bytes, problem) => {
    expect(canonicalProblems(hex(bytes), shapes.directory).join()).toContain(problem);
  });
});
