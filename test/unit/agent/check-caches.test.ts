import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { checkCaches } from "../../../agent/caches/check-caches.ts";
import { NamedCachesSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { limits } from "../../../shared/limits.ts";

const check = (caches: { name: string; path: string }[], outputs: string[] = []) =>
  checkCaches(create(NamedCachesSchema, { project: "../..", caches }), outputs);

test("caches of a plan are taken", () => {
  expect(check([{ name: "npm", path: ".npm" }], ["dist"])).toBeUndefined();
  expect(check([])).toBeUndefined();
});

test.each([
  ["../npm", ".npm", "has no proper name"],
  ["", ".npm", "has no proper name"],
  ["npm", "", "is empty"],
  ["npm", "../x", "leaves the working directory"],
  ["npm", "a/../../x", "leaves the working directory"],
  ["npm", "/etc", "is an absolute path"],
  ["npm", "a\0b", "contains a control character"],
  ["npm", "a,upperdir=b/", "is not in its plain form"],
  ["npm", "./a", "is not in its plain form"],
  ["npm", "dist/npm", 'where "dist" is an output or a cache'],
])("a hostile one is refused: %j at %j", (name, path, problem) => {
  expect(check([{ name, path }], ["dist"])).toContain(problem);
});

test("two in one place, too many, and one in an output that is the whole root are refused", () => {
  const two = [
    { name: "a", path: "x" },
    { name: "b", path: "x/y" },
  ];
  expect(check(two)).toContain('"b" is at "x/y"');
  expect(check(two.slice(0, 1), [""])).toContain('"a" is at "x"');
  const many = Array.from({ length: limits.taskCaches + 1 }, (_, index) => ({ name: `c${index}`, path: `c${index}` }));
  expect(check(many)).toContain(`${limits.taskCaches} are the most`);
});
