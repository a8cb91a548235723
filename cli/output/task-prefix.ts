import type { Colors } from "./console.ts";

/** What stands in front of each line of a task: its name, in a colour of its own, padded so that the lines align. */
export type TaskPrefix = (task: string) => string;

/** Names longer than this are not aligned: one long name should not push everything to the right. */
const alignMaxColumns = 32;

/** Colours and widths are given in the order in which tasks are first named, so `announce` keeps them as in the file. */
export function taskPrefixes(colors: Colors): { prefix: TaskPrefix; announce(tasks: readonly string[]): void } {
  const palette = [colors.cyan, colors.magenta, colors.blue, colors.yellow, colors.green, colors.red];
  const indexes = new Map<string, number>();
  let width = 0;

  function announce(tasks: readonly string[]): void {
    for (const task of tasks) {
      if (!indexes.has(task)) indexes.set(task, indexes.size);
      if (task.length <= alignMaxColumns) width = Math.max(width, task.length);
    }
  }

  return {
    announce,
    prefix(task) {
      announce([task]);
      const paint = palette[(indexes.get(task) ?? 0) % palette.length] ?? colors.dim;
      return `${paint(task.padEnd(width))} ${colors.dim("│")} `;
    },
  };
}
