/** Where a sandbox puts folders of its own; see sandbox.mjs. */
const temporaryFolders = ["/tmp", "/var/tmp"];

/** Without folders that are in others of the list. All are absolute. */
export function outermost(folders: readonly string[]): string[] {
  const distinct = [...new Set(folders)];
  return distinct.filter((folder) => !distinct.some((other) => other !== folder && isWithin(folder, other)));
}

/** Those that a task in a sandbox would not see. */
export function outOfSight(folders: readonly string[], hidden: readonly string[]): string[] {
  const covers = [...temporaryFolders, ...hidden];
  return outermost(folders.filter((folder) => covers.some((cover) => isWithin(folder, cover))));
}

function isWithin(folder: string, other: string): boolean {
  return folder === other || folder.startsWith(other.endsWith("/") ? other : `${other}/`);
}
