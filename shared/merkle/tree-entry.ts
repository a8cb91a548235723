import type { Digest } from "../digest.ts";

/** Something in a tree, by its path: `/` between components, no leading or trailing one, no `.` or `..`. */
export interface TreeEntry {
  readonly path: string;
  readonly node: TreeNode;
}

export type TreeNode =
  | { readonly kind: "file"; readonly digest: Digest; readonly executable: boolean }
  | { readonly kind: "symlink"; readonly target: string }
  /** A whole subtree by its root Directory; also how an empty directory is said. Nothing else may lie below its path. */
  | { readonly kind: "directory"; readonly digest: Digest };
