import { MillraceError } from "../../errors.ts";
import { draftText, type ImportGap } from "./draft.ts";
import { type ForeignMap, readForeign } from "./foreign-yaml.ts";
import { importGithub } from "./github.ts";
import { importGitlab } from "./gitlab.ts";

/** A pipeline file made of a file of another system. */
export interface ImportedPipeline {
  /** As people call the other system. */
  readonly kind: "GitHub Actions" | "GitLab CI";
  readonly text: string;
  /** What could not be translated, in the order of the file; the text names them, too. */
  readonly gaps: readonly ImportGap[];
}

/**
 * Translates what maps, and says what does not: nothing is made up. What would otherwise run by itself though it waited
 * for a person never runs, and a job of which nothing could be translated fails. Pure.
 * @param file is not read; it names the file in messages, and tells GitHub's from GitLab's where the text does not.
 * @throws MillraceError invalid_argument for what is neither.
 */
export function importPipeline(text: string, file: string, fallbackName: string): ImportedPipeline {
  const foreign = readForeign(text, file);
  const found: ImportGap[] = [];
  const report = (line: number, message: string) => void found.push({ line, message });
  const kind = kindOf(foreign, file);
  const draft =
    kind === "GitHub Actions"
      ? importGithub(foreign, fallbackName, report)
      : importGitlab(foreign, fallbackName, report);
  if (draft.stages.size === 0 || [...draft.stages.values()].every(({ tasks }) => tasks.size === 0)) {
    throw new MillraceError("invalid_argument", `${file}: has no jobs that could be translated`);
  }
  const distinct = new Map(found.map((gap) => [`${gap.line}:${gap.message}`, gap]));
  const gaps = [...distinct.values()].sort((a, b) => a.line - b.line);
  return { kind, text: draftText(draft, file, gaps), gaps };
}

function kindOf(foreign: ForeignMap, file: string): ImportedPipeline["kind"] {
  const jobs = foreign.entries.get("jobs")?.value;
  if (jobs?.kind === "map" && (foreign.entries.has("on") || /\.github\//.test(file))) return "GitHub Actions";
  const looksLikeJobs = [...foreign.entries.values()].some(
    ({ value }) => value.kind === "map" && ["script", "extends", "trigger"].some((key) => value.entries.has(key)),
  );
  if (looksLikeJobs) return "GitLab CI";
  throw new MillraceError(
    "invalid_argument",
    `${file}: is neither a workflow of GitHub Actions (\`on\` and \`jobs\`) nor a .gitlab-ci.yml (jobs with \`script\`)`,
  );
}
