import { stripVTControlCharacters } from "node:util";

/** Rows under a heading, columns as wide as their widest cell; cells may hold colours and lines. Ends with a newline. */
export function table(heading: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [heading, ...rows].flatMap(linesOf);
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

/** A row for each line of its longest cell: what goes on stays in its column. */
function linesOf(row: readonly string[]): readonly (readonly string[])[] {
  if (!row.some((cell) => cell.includes("\n"))) return [row];
  const cells = row.map((cell) => cell.split("\n"));
  const height = Math.max(...cells.map((lines) => lines.length));
  return Array.from({ length: height }, (_, line) => cells.map((lines) => lines[line] ?? ""));
}

/** Columns a text takes on a terminal, for the scripts that names and labels may use. */
function visibleWidth(text: string): number {
  return [...stripVTControlCharacters(text)].length;
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - visibleWidth(cell)));
}
