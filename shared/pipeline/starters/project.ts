/** A source tree as a starter looks at it: names of files, and the texts of a few of them. */
export interface Project {
  /** Paths of files, relative to the top, sorted. */
  readonly files: readonly string[];
  /** Whether there is a file at this path. */
  has(path: string): boolean;
  /** Whether there is a file in this folder or below it. */
  hasFolder(path: string): boolean;
  /** Empty when it is not there or cannot be read. */
  text(path: string): string;
}

/** What a starter decides by. Pure, as far as `read` is. */
export function projectOf(files: Iterable<string>, read: (path: string) => string | undefined): Project {
  const sorted = [...new Set(files)].sort((a, b) => (a < b ? -1 : 1));
  const known = new Set(sorted);
  const folders = new Set(sorted.flatMap(foldersOf));
  const texts = new Map<string, string>();
  return {
    files: sorted,
    has: (path) => known.has(path),
    hasFolder: (path) => folders.has(path),
    text(path) {
      if (!known.has(path)) return "";
      const text = texts.get(path) ?? read(path) ?? "";
      texts.set(path, text);
      return text;
    },
  };
}

function foldersOf(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

/** The first of these files that is there. */
export function firstOf(project: Project, paths: readonly string[]): string | undefined {
  return paths.find(project.has);
}

/** Those of these files that are there, as a list of inputs. */
export function present(project: Project, paths: readonly string[]): string[] {
  return paths.filter(project.has);
}
