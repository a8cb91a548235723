/** A table of a Markdown document. */
export interface MarkdownTable {
  readonly columns: readonly string[];
  /** One record a row, by column. */
  readonly rows: readonly Readonly<Record<string, string>>[];
}

/** All tables whose cells hold no `|`, in order. */
export function markdownTables(text: string): MarkdownTable[] {
  const tables: MarkdownTable[] = [];
  for (const block of text.match(/(?:^[ \t]*\|.*\|[ \t]*(?:\n|$))+/gm) ?? []) {
    const [head, ruler, ...body] = block.trim().split("\n").map(cellsOf);
    if (head === undefined || ruler === undefined || !ruler.every((cell) => /^:?-+:?$/.test(cell))) continue;
    tables.push({
      columns: head,
      rows: body.map((cells) => Object.fromEntries(head.map((column, index) => [column, cells[index] ?? ""]))),
    });
  }
  return tables;
}

/** The texts between backticks. */
export function codeSpans(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "");
}

/** The document without fenced code, line numbers kept. */
export function withoutFences(text: string): string {
  return text.replace(/^(```|~~~)[\s\S]*?^\1/gm, (fence) => fence.replace(/[^\n]/g, ""));
}

/** The fragments under which a forge links to the document's headings. */
export function headingAnchors(text: string): ReadonlySet<string> {
  const anchors = new Map<string, number>();
  const all = new Set<string>();
  for (const match of withoutFences(text).matchAll(/^#{1,6}\s+(.+?)\s*$/gm)) {
    const slug = (match[1] ?? "")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    const seen = anchors.get(slug) ?? 0;
    anchors.set(slug, seen + 1);
    all.add(seen === 0 ? slug : `${slug}-${seen}`);
  }
  return all;
}

function cellsOf(line: string): string[] {
  return line
    .trim()
    .replace(/^\||\|$/g, "")
    .split("|")
    .map((cell) => cell.trim());
}
