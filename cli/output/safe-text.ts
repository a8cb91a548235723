/**
 * Task output for a terminal: colours stay, everything else that could move the cursor, retitle the window, write the
 * clipboard or hide text is taken out, for the output of a task is not to be trusted.
 */
export function safeText(line: string): string {
  return line.replace(unsafe, (match) => (sgr.test(match) ? match : ""));
}

/**
 * What a person or a program says, within a line of ours. What goes on stands further in, so that it passes for no other
 * line of ours.
 */
export function indentedText(text: string, columns = 2): string {
  return safeText(text).replaceAll("\n", `\n${" ".repeat(columns)}`);
}

/** A reason with a remark on it, which stands where the first line ends: that says what it came to, the others explain. */
export function remarked(reason: string, remark: string): string {
  return reason.replace(/(:?\n|$)/, (end) => `${remark}${end}`);
}

/** Select Graphic Rendition: colours and weights. */
const sgr = /^\u001b\[[0-9;:]*m$/;

/** Control sequences (CSI), strings (OSC, DCS, …) up to their end, other escapes, and control characters but the tab. */
const unsafe = new RegExp(
  [
    "\\u001b\\[[0-?]*[ -/]*[@-~]",
    "\\u001b[\\]PX^_][^\\u0007\\u001b\\u009c]*(?:\\u0007|\\u001b\\\\|\\u009c)?",
    "\\u001b[ -/]*[0-~]?",
    "[\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f]",
  ].join("|"),
  "g",
);
