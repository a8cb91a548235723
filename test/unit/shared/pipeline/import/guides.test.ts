import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { importPipeline } from "../../../../../shared/pipeline/import/import-pipeline.ts";
import { parsePipeline } from "../../../../../shared/pipeline/parse.ts";
import { repositoryRoot } from "../../../../support/source-files.ts";

it.each([
  ["migrating-from-github-actions.md", ".github/workflows/ci.yml"],
  ["migrating-from-gitlab.md", ".gitlab-ci.yml"],
])("the example in %s is translated as it says, into a pipeline that is right", (guide, file) => {
  const text = readFileSync(join(repositoryRoot, "docs/guides", guide), "utf8");
  const [before = "", after = ""] = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, block = ""]) => block);
  expect(importPipeline(before, file, "shop").text).toBe(after);
  expect(parsePipeline(after, "millrace.yaml").problems).toEqual([]);
});
