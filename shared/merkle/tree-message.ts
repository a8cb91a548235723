import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import type { Blob } from "../cas/cas.ts";
import { type Digest, type DigestKey, digestKey, digestOf, emptyDigest } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { MerkleTree } from "./build-tree.ts";
import { decodeDirectory } from "./directory.ts";

/** Field numbers of REAPI's Tree. Its bytes are handled here as they are, for a child is found by the digest of its bytes. */
const rootField = 1;
const childrenField = 2;

/**
 * The REAPI Tree of a whole directory in one message, topologically sorted: parents before children, each child once.
 * @throws MillraceError invalid_argument when a Directory below the root is not at hand.
 */
export function encodeTree(tree: MerkleTree): Uint8Array {
  const writer = new BinaryWriter();
  // Children first by depth-first search, then turned round: so a shared child stands behind all of its parents.
  const finished: Blob[] = [];
  const seen = new Set<DigestKey>();
  const visit = (digest: Digest, depth: number): void => {
    const key = digestKey(digest);
    if (seen.has(key)) return;
    seen.add(key);
    if (depth > limits.treeDepth)
      throw new MillraceError("invalid_argument", `the tree is deeper than ${limits.treeDepth}`);
    const blob = directoryBlob(tree, digest);
    for (const node of decodeDirectory(digest, blob.data).nodes.values()) {
      if (node.kind === "directory") visit(node.digest, depth + 1);
    }
    finished.push(blob);
  };
  visit(tree.root, 0);
  for (const [index, { data }] of finished.reverse().entries()) {
    writer.tag(index === 0 ? rootField : childrenField, WireType.LengthDelimited).bytes(data);
  }
  return writer.finish();
}

/**
 * The Directories of a Tree message in any order of children; unused ones are kept.
 * @throws MillraceError invalid_argument when the bytes are no Tree.
 */
export function decodeTree(bytes: Uint8Array): MerkleTree {
  const directories = new Map<DigestKey, Blob>();
  let root: Digest | undefined;
  try {
    const reader = new BinaryReader(bytes);
    while (reader.pos < reader.len) {
      const [field, wireType] = reader.tag();
      if ((field !== rootField && field !== childrenField) || wireType !== WireType.LengthDelimited) {
        reader.skip(wireType, field);
        continue;
      }
      const data = new Uint8Array(reader.bytes()); // a copy: a view would keep the whole message alive
      const digest = digestOf(data);
      directories.set(digestKey(digest), { digest, data });
      if (field === rootField) root = digest;
    }
  } catch (error) {
    throw new MillraceError("invalid_argument", "these bytes are not a Tree message", { cause: error });
  }
  if (root === undefined) throw new MillraceError("invalid_argument", "the Tree message has no root");
  return { root, directories };
}

function directoryBlob(tree: MerkleTree, digest: Digest): Blob {
  const key = digestKey(digest);
  const blob = tree.directories.get(key);
  if (blob !== undefined) return blob;
  if (key === digestKey(emptyDigest)) return { digest, data: new Uint8Array() };
  throw new MillraceError("invalid_argument", `the tree lacks its directory ${key}`);
}
