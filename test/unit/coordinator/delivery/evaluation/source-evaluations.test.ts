import { expect, test } from "vitest";
import { sourceEvaluations } from "../../../../../coordinator/delivery/evaluation/source-evaluations.ts";
import { memoryCas } from "../../../../../shared/cas/memory-cas.ts";
import { MillraceError } from "../../../../../shared/errors.ts";
import { buildTree } from "../../../../../shared/merkle/build-tree.ts";
import { textBlob } from "../../../../support/blobs.ts";

test("a file is evaluated for a project that is there, which stays as long, and only in TypeScript", async () => {
  const cas = memoryCas();
  const text = textBlob("x");
  const file = (path: string) => ({ path, node: { kind: "file", digest: text.digest, executable: false } }) as const;
  const tree = buildTree([file("millrace.ts"), file("other.yaml")]);
  await cas.writeMany([...tree.directories.values(), text]);
  const held: string[] = [];
  const asked: unknown[] = [];
  const evaluations = sourceEvaluations({
    cas,
    offers: () => [],
    evaluations: {
      async evaluate({ file: path, scope }) {
        asked.push([path, scope, [...held]]);
        return { text: "{}", digest: text.digest };
      },
    },
    projects: {
      cacheZoneOf: (name) => `zone of ${name}`,
      hold(name) {
        if (name !== "shop") throw new MillraceError("not_found", `there is no project "${name}"`);
        held.push(name);
        return () => void held.pop();
      },
    },
  });
  const evaluate = (project: string, pipelinePath: string) =>
    evaluations.evaluate({ project, source: tree.root, pipelinePath }, new AbortController().signal);
  expect(await evaluate("shop", "")).toEqual({ pipelinePath: "millrace.ts", text: "{}" });
  expect(asked).toEqual([["millrace.ts", { project: "shop", cacheZone: "zone of shop" }, ["shop"]]]);
  await expect(evaluate("shpo", "")).rejects.toMatchObject({ code: "not_found" });
  await expect(evaluate("shop", "other.yaml")).rejects.toThrow("other.yaml is not in TypeScript");
  expect(held).toEqual([]);
});
