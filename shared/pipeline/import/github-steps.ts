import { type DraftTask, scriptFor } from "./draft.ts";
import { entriesAt, type Foreign, listOf, textAt, valueAt } from "./foreign-yaml.ts";
import { type ActionPlace, actionLines } from "./github-actions.ts";
import { secretName, translateText } from "./github-text.ts";

/** Fills the script of a task, and what its steps ask for, from the steps of a job. */
export function fillSteps(
  job: Foreign,
  env: ReadonlyMap<string, string>,
  place: Omit<ActionPlace, "line" | "translate">,
): void {
  const { task, report } = place;
  const parts: string[] = [];
  let shells = "";
  for (const step of listOf(valueAt(job, "steps"))) {
    const { line } = step;
    const use = (text: string, script: boolean) => takeText(task, text, line, { env, script, report });
    const uses = textAt(step, "uses");
    if (uses !== undefined) {
      const lines = actionLines(uses, step, { ...place, line, translate: (text) => use(text, false) });
      if (lines === undefined) {
        report(line, `\`uses: ${uses}\`: an action runs nowhere else; write the commands that do the same`);
        parts.push(`# not translated: uses ${uses}`);
      } else parts.push(...lines);
      continue;
    }
    const run = textAt(step, "run");
    if (run === undefined) continue;
    const condition = textAt(step, "if");
    if (condition !== undefined) {
      report(
        valueAt(step, "if")?.line ?? line,
        `\`if: ${condition}\` of a step: its commands run always, or become a task with \`when\``,
      );
    }
    const shell = textAt(step, "shell") ?? "";
    if (shell !== "" && !/^(ba)?sh\b/.test(shell))
      report(line, `\`shell: ${shell}\`: scripts are for /bin/sh; write how it is called`);
    if (/GITHUB_(ENV|OUTPUT|PATH|STEP_SUMMARY|STATE)/.test(run))
      report(line, "what a step writes to $GITHUB_… reaches no other step here");
    shells += run;
    parts.push(stepScript(step, use(run, true), (text) => use(text, true)));
  }
  const script = parts.join("\n").trim();
  if (script === "" || shells.trim() === "") {
    report(job.line, "nothing of this job could be translated, so its task fails until it is written");
    task.run = `${script === "" ? "" : `${script}\n`}echo 'this task was not translated' >&2\nexit 1\n`;
  } else task.run = scriptFor(script);
}

/** Translates a text of a task, and gives the task the secrets that it speaks of. */
export function takeText(
  task: DraftTask,
  text: string,
  line: number,
  scope: Parameters<typeof translateText>[2],
): string {
  const { text: translated, secrets } = translateText(text, line, scope);
  for (const secret of secrets) task.secrets = { ...task.secrets, [secret]: secretName(secret) };
  return translated;
}

/** In a process of its own where it changes variables or the folder, as each step is in one. */
function stepScript(step: Foreign, run: string, translate: (text: string) => string): string {
  const name = textAt(step, "name");
  const folder = textAt(step, "working-directory");
  const env = entriesAt(valueAt(step, "env")).flatMap(([key, { value }]) =>
    value.kind === "text" ? [`export ${key}=${quotedWord(translate(value.text))}`] : [],
  );
  const may = textAt(step, "continue-on-error") === "true";
  const lines = [
    ...env,
    ...(folder === undefined ? [] : [`cd ${quotedWord(translate(folder))}`]),
    run.replace(/\n+$/, ""),
  ];
  const apart = may || env.length > 0 || folder !== undefined || /^\s*(cd|export|set|exit)\b/m.test(run);
  const title = name === undefined ? [] : [`# ${translate(name).replaceAll("\n", " ")}`];
  // The end of a here-document must stand at the beginning of its line, so nothing is indented.
  return [...title, ...(apart ? ["(", ...lines, may ? ") || true" : ")"] : lines)].join("\n");
}

/** A word for a shell in which variables still mean their values. */
function quotedWord(text: string): string {
  return /^[\w./:@%+=,-]*$/.test(text) ? text : `"${text.replaceAll(/["\\`]/g, "\\$&")}"`;
}
