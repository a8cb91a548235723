import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Directory,
  DirectoryNodeSchema,
  DirectorySchema,
  FileNodeSchema,
  SymlinkNodeSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Blob } from "../cas/cas.ts";
import { type Digest, digestFromMessage, digestKey, digestOf, digestToMessage } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { TreeNode } from "./tree-entry.ts";
import { compareUtf8, nameProblem, quoted, targetProblem } from "./tree-path.ts";

/** One level of a tree: what each name is. */
export type DirectoryNodes = ReadonlyMap<string, TreeNode>;

/** The canonical Directory message: lists sorted, defaults left out, so that equal levels have equal digests. */
export function encodeDirectory(nodes: DirectoryNodes): Blob {
  const directory = create(DirectorySchema);
  for (const name of [...nodes.keys()].sort(compareUtf8)) {
    const node = nodes.get(name);
    if (node === undefined) continue;
    switch (node.kind) {
      case "file":
        directory.files.push(
          create(FileNodeSchema, { name, digest: digestToMessage(node.digest), isExecutable: node.executable }),
        );
        break;
      case "directory":
        directory.directories.push(create(DirectoryNodeSchema, { name, digest: digestToMessage(node.digest) }));
        break;
      case "symlink":
        directory.symlinks.push(create(SymlinkNodeSchema, { name, target: node.target }));
        break;
      default:
        node satisfies never;
    }
  }
  const data = toBinary(DirectorySchema, directory);
  if (data.byteLength > limits.directoryBytes) {
    throw new MillraceError(
      "invalid_argument",
      `a directory of ${nodes.size} entries takes ${data.byteLength} bytes; ${limits.directoryBytes} is the most: ` +
        "spread its files over subdirectories",
    );
  }
  return { digest: digestOf(data), data };
}

/** A Directory from outside, with its nodes checked. */
export interface DecodedDirectory {
  readonly message: Directory;
  readonly nodes: DirectoryNodes;
}

/**
 * Reads a Directory that anybody may have written.
 * @throws MillraceError invalid_argument, naming the digest, when it is no Directory, its names could lead elsewhere, or
 * a list is not sorted or has a name twice.
 */
export function decodeDirectory(digest: Digest, data: Uint8Array): DecodedDirectory {
  const refuse = (why: string, cause?: unknown): never => {
    throw new MillraceError("invalid_argument", `directory ${digestKey(digest)} ${why}`, { cause });
  };
  if (data.byteLength > limits.directoryBytes) {
    refuse(`has ${data.byteLength} bytes; ${limits.directoryBytes} is the most`);
  }
  const message = parse(data, (cause) => refuse("is not a Directory message", cause));
  const nodes = new Map<string, TreeNode>();
  const add = (list: string, previous: string | undefined, name: string, node: TreeNode): void => {
    const problem = nameProblem(name);
    if (problem !== undefined) refuse(`has the name ${quoted(name)}, which ${problem}`);
    if (nodes.has(name)) refuse(`has the name ${quoted(name)} twice`);
    if (previous !== undefined && compareUtf8(previous, name) > 0) {
      refuse(`has unsorted ${list}: ${quoted(name)} stands behind ${quoted(previous)}`);
    }
    nodes.set(name, node);
  };
  for (const [index, { name, digest: file, isExecutable }] of message.files.entries()) {
    const of = digestFromMessage(file, `digest of ${quoted(name)}`);
    add("files", message.files[index - 1]?.name, name, { kind: "file", digest: of, executable: isExecutable });
  }
  for (const [index, { name, digest: child }] of message.directories.entries()) {
    const node = { kind: "directory", digest: digestFromMessage(child, `digest of ${quoted(name)}`) } as const;
    add("directories", message.directories[index - 1]?.name, name, node);
  }
  for (const [index, { name, target }] of message.symlinks.entries()) {
    const problem = targetProblem(target);
    if (problem !== undefined) refuse(`has the symlink ${quoted(name)}, whose target ${problem}`);
    add("symlinks", message.symlinks[index - 1]?.name, name, { kind: "symlink", target });
  }
  return { message, nodes };
}

function parse(data: Uint8Array, refuse: (cause: unknown) => never): Directory {
  try {
    return fromBinary(DirectorySchema, data);
  } catch (error) {
    return refuse(error);
  }
}
