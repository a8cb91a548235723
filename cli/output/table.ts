import { stripVTControlCharacters } from "node:util";

/** Rows under a heading, columns as wide as their widest cell; cells may hold colours. Ends with a newline. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heading, ...rows];
  const widths = heading.map((_, column) => Math.max(...all.map((row) => visibleWidth(row[column] ?? ""))));
  return all
    .map(
      (row) =>
        `${row
          .map((cell, column) => pad(cell, widths[column] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}

/** Columns a text takes on a terminal, for the scripts that names and labels may use. */
function visibleWidth(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - visibleWidth(cell)));
}
