import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkPipeline } from "../../../cli/check-pipeline.ts";
import { knownPipelines } from "../../../cli/known-pipelines.ts";
import type { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { tempDir } from "../../support/temp-dir.ts";

const right = "name: p\nstages: { s: { tasks: { t: { run: make } } } }\n";
const wrong = right.replace("run:", "ran:");

function checker() {
  const dir = tempDir();
  const file = join(dir, "cache/pipelines");
  const said: MillraceError[] = [];
  const check = (text: string) => {
    writeFileSync(join(dir, "millrace.yaml"), text);
    const onProblem = (problem: MillraceError) => said.push(problem);
    return checkPipeline({ dir, path: "millrace.yaml", known: knownPipelines(file), onProblem });
  };
  return { dir, file, said, check };
}

test("a pipeline file without problems is remembered, one with problems is not", async () => {
  const { check, file, said } = checker();
  expect((await check(wrong)).length).toBeGreaterThan(0);
  expect(existsSync(file)).toBe(false);
  expect(await check(right)).toEqual([]);
  const remembered = readFileSync(file, "utf8");
  expect(await check(right)).toEqual([]);
  expect((await check(wrong)).length).toBeGreaterThan(0);
  expect(readFileSync(file, "utf8")).toBe(remembered);
  expect(said).toEqual([]);
});

test("what is remembered is not parsed again", async () => {
  const { check, file } = checker();
  knownPipelines(file).add(wrong); // a lie, which only a parser could find out
  expect(await check(wrong)).toEqual([]);
});

test("a file with parameters or includes is checked each time, with what it is given and includes now", async () => {
  const { check, dir, file } = checker();
  const text = `${right}params: { level: { options: [quick, full] } }\n`;
  expect((await check(text)).map(({ message }) => message)).toEqual(['parameter "level" has no value']);
  const options = { dir, path: "millrace.yaml", known: knownPipelines(file), onProblem: () => undefined };
  expect(await checkPipeline({ ...options, params: { level: "full" } })).toEqual([]);
  expect(existsSync(file)).toBe(false);

  writeFileSync(join(dir, "more.yaml"), "defaults: { timeout: 1m }\n");
  expect(await check(`${right}include: [more.yaml]\n`)).toEqual([]);
  writeFileSync(join(dir, "more.yaml"), "defaults:\n  timout: 1m\n");
  const [problem] = await check(`${right}include: [more.yaml]\n`);
  expect(problem).toMatchObject({ file: "more.yaml", line: 2, column: 3, hint: 'did you mean "timeout"?' });
});

test("files of the folder are included, and nothing that links lead to", async () => {
  const { check, dir } = checker();
  writeFileSync(join(dir, "../outside.yaml"), "defaults: { timeout: 1m }\n");
  symlinkSync("../outside.yaml", join(dir, "link.yaml"));
  writeFileSync(join(dir, "inside.yaml"), "defaults: { timeout: 1m }\n");
  symlinkSync("inside.yaml", join(dir, "inner-link.yaml"));
  expect(await check(`${right}include: [./inside.yaml]\n`)).toEqual([]);
  for (const path of ["link.yaml", "inner-link.yaml", "../outside.yaml", "/etc/passwd"]) {
    expect(await check(`${right}include: [${path}]\n`), path).not.toEqual([]);
  }
});

test("where nothing can be remembered, the file is checked all the same, and it is said", async () => {
  const { check, file, said } = checker();
  mkdirSync(file, { recursive: true });
  expect(await check(right)).toEqual([]);
  expect(await check(wrong)).not.toEqual([]);
  expect(said.map(({ message }) => message)).toEqual([expect.stringContaining("remembering that the pipeline file")]);
});

test("a pipeline file that is not there is said with how to get one", async () => {
  const { dir, file } = checker();
  const options = { dir, path: "none.yaml", known: knownPipelines(file), onProblem: () => undefined };
  await expect(checkPipeline(options)).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringContaining("millrace init"),
  });
});

test("the pipeline files added last are remembered, up to a number", () => {
  const { file } = checker();
  const texts = Array.from({ length: limits.knownPipelines + 2 }, (_, n) => `name: p${n}\n`);
  const known = knownPipelines(file);
  for (const text of texts) known.add(text);
  known.add(texts[2] ?? ""); // known already: moves up, pushes nobody out
  expect(texts.filter((text) => !known.has(text))).toEqual(texts.slice(0, 2));
});
