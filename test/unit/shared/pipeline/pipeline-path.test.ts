import { expect, test } from "vitest";
import { absentPipelineHint } from "../../../../shared/pipeline/pipeline-path.ts";

const files = [
  "millrace.ts",
  ".millrace/nightly.ts",
  ".millrace/millrace.d.ts",
  "ci/weekly.yml",
  "src/nightlo.ts",
  "a.md",
];

test.for([
  [".millrace/nigthly.yaml", 'did you mean ".millrace/nightly.ts"?'],
  ["nightly.ts", 'did you mean ".millrace/nightly.ts"?'],
  ["ci/weekly.yaml", 'did you mean "ci/weekly.yml"?'],
  ["millrace.yaml", 'did you mean "millrace.ts"?'],
  [".millrace/release.yaml", "pipelines here: millrace.ts, .millrace/nightly.ts"],
] as const)("in the place of %s, the pipeline that was probably meant is named: %s", ([asked, hint]) => {
  expect(absentPipelineHint(asked, files)).toBe(hint);
});

test("where there is no pipeline, a starter is offered", () => {
  expect(absentPipelineHint("millrace.yaml", ["src/index.ts"])).toMatch(/^write a starter with `millrace init`/);
});
