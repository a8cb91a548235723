import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { withProgress } from "../../../../../coordinator/api/grpc/submit-source.ts";
import {
  type GitSubmitsDeps,
  gitSubmits,
  type ProjectRepository,
} from "../../../../../coordinator/delivery/source/git-submits.ts";
import {
  planSupplied,
  type RunSource,
  type SourceSupplier,
} from "../../../../../coordinator/delivery/source/run-source.ts";
import type { ImportRequest } from "../../../../../coordinator/delivery/source/source-imports.ts";
import { GitRefSchema, ImportState, RunRequestSchema } from "../../../../../proto/gen/millrace/v1/run_pb.ts";
import { missingBlobs } from "../../../../../shared/cas/missing-blobs.ts";
import { emptyDigest } from "../../../../../shared/digest.ts";
import { MillraceError } from "../../../../../shared/errors.ts";

const source: RunSource = { root: emptyDigest };

test("a supplier whose blobs turn out to be gone is asked once more, for all of them", async () => {
  const asked: boolean[] = [];
  const supply: SourceSupplier = async (whole) => {
    asked.push(whole);
    return source;
  };
  let plans = 0;
  const plan = async () => {
    plans += 1;
    if (plans === 1) throw missingBlobs([emptyDigest], "reading the source");
    return "plan";
  };
  expect(await planSupplied(supply, plan)).toEqual({ source, planned: "plan" });
  expect(asked).toEqual([false, true]);
});

test("another failure of a plan, and a source that was sent, are tried once", async () => {
  const lacking = async () => {
    throw missingBlobs([emptyDigest], "reading the source");
  };
  await expect(planSupplied(source, lacking)).rejects.toThrow("not in the store");
  const asked: boolean[] = [];
  const supply: SourceSupplier = async (whole) => {
    asked.push(whole);
    return source;
  };
  const failing = async () => {
    throw new MillraceError("failed_precondition", "evaluating millrace.ts: agents were lost");
  };
  await expect(planSupplied(supply, failing)).rejects.toThrow("agents were lost");
  expect(asked).toEqual([false]);
});

/** What an import is asked for by a submit. */
async function importOf(git: { url?: string; ref?: string }, own?: ProjectRepository) {
  const requests: ImportRequest[] = [];
  const deps: GitSubmitsDeps = {
    runs: {
      async submit(_asker, _request, supply) {
        if (typeof supply === "function") await supply(false);
        return "run_1";
      },
    },
    imports: {
      async import(request) {
        requests.push(request);
        return source;
      },
    },
    repositoryOf: () => own,
    lastCommits: async () => [],
  };
  const asker = { principal: { name: "token:ann", role: "developer" as const }, traceparent: "" };
  const submit = { request: create(RunRequestSchema, { project: "shop" }), git: create(GitRefSchema, git) };
  await gitSubmits(deps).submit(asker, submit, new AbortController().signal);
  return requests.map(({ url, ref }) => [url, ref]);
}

test("the repository and the branch are those of the project where none are named", async () => {
  const ssh = { knownHosts: "example.org ssh-ed25519 AAAA", trustFirstHostKey: true };
  const own = { url: "https://example.org/shop.git", defaultBranch: "trunk", credentialsSecret: "deploy-key", ...ssh };
  expect(await importOf({}, own)).toEqual([[own.url, "trunk"]]);
  expect(await importOf({ ref: "topic" }, own)).toEqual([[own.url, "topic"]]);
  expect(await importOf({ url: "https://example.org/other.git" }, own)).toEqual([
    ["https://example.org/other.git", ""],
  ]);
  expect(await importOf({ url: own.url })).toEqual([[own.url, ""]]);
  await expect(importOf({})).rejects.toThrow("the project shop has no repository");
  await expect(importOf({ url: "ext::x" })).rejects.toThrow("no https:");
  await expect(importOf({ url: own.url, ref: "--x" })).rejects.toThrow("is no name");
});

test("progress is told once a state, the run last, and a reader who goes ends the submit", async () => {
  const messages = await Array.fromAsync(
    withProgress(async (tell) => {
      tell(ImportState.WAITING, "");
      await Promise.resolve();
      tell(ImportState.FETCHING, "agent-1");
      tell(ImportState.FETCHING, "agent-1");
      return "run_7";
    }, new AbortController().signal),
  );
  expect(messages.at(-1)).toEqual({ part: { case: "run", value: "run_7" } });
  expect(messages.filter(({ part }) => part?.case === "progress").length).toBeLessThanOrEqual(2);
  const ended = Promise.withResolvers<void>();
  const never = withProgress((tell, signal) => {
    tell(ImportState.WAITING, "");
    signal.addEventListener("abort", () => ended.resolve());
    return new Promise<string>(() => {});
  }, new AbortController().signal);
  await never.next();
  await never.return(undefined);
  await ended.promise;
});
