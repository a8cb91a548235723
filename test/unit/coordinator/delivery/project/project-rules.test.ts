import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { projectProblems } from "../../../../../coordinator/delivery/project/project-rules.ts";
import { retentionOf } from "../../../../../coordinator/delivery/project/retention.ts";
import { ProjectRetentionSchema, ProjectSchema } from "../../../../../proto/gen/millrace/v1/event_pb.ts";

type Init = MessageInitShape<typeof ProjectSchema>;
const fieldsOf = (init: Init) => projectProblems(create(ProjectSchema, init)).map(({ field }) => field);

test.each([
  { repository: "https://git.example.org/shop.git" },
  { repository: "ssh://git@git.example.org/shop.git" },
  { repository: "git@git.example.org:shop.git", knownHosts: "git.example.org ssh-ed25519 AAAAC3Nz" },
  { repository: "/srv/git/shop.git" },
  { defaultBranch: "release/1.2", cacheZone: "pull-requests", credentialsSecret: "git_token" },
  { quotas: { runningTasks: 3 }, retention: { runsMax: 1 } },
] satisfies Omit<Init, "$typeName">[])("%j is sound", (more) => {
  expect(fieldsOf({ name: "shop", ...more })).toEqual([]);
});

test.each([
  ["name", { name: "Shop" }],
  ["name", { name: "../x" }],
  ["repository", { repository: "https://anna:secret@git.example.org/shop.git" }],
  ["repository", { repository: "https://token@git.example.org/shop.git" }],
  ["repository", { repository: "ext::sh -c id" }],
  ["repository", { repository: "--upload-pack=id" }],
  ["repository", { repository: "file:///etc" }],
  ["repository", { repository: "git.example.org:shop.git" }],
  ["known_hosts", { knownHosts: "github.com" }],
  ["default_branch", { defaultBranch: "--force" }],
  ["default_branch", { defaultBranch: "a..b" }],
  ["credentials_secret", { credentialsSecret: "Bad Name" }],
  ["cache_zone", { cacheZone: "a/b" }],
  ["quotas.running_tasks", { quotas: { runningTasks: -1 } }],
  ["retention.runs_max", { retention: { runsMax: 0 } }],
  ["retention.log_age", { retention: { logAge: durationFromMs(0) } }],
  ["title", { title: "x".repeat(201) }],
] as const)("finds what is wrong with %s", (field, more) => {
  expect(fieldsOf({ name: "shop", ...more })).toEqual([field]);
});

test("all problems come at once", () => {
  expect(fieldsOf({ name: "", repository: "x", quotas: { unfinishedRuns: -1 } })).toEqual([
    "name",
    "repository",
    "quotas.unfinished_runs",
  ]);
});

test("a project keeps things for as long as it says, and for the rest as the coordinator does", () => {
  const common = { runsMax: 1_000, runAgeMs: 90, logAgeMs: 30, artifactAgeMs: Number.POSITIVE_INFINITY };
  expect(retentionOf(undefined, common)).toEqual(common);
  const own = create(ProjectRetentionSchema, { runsMax: 5, logAge: durationFromMs(7) });
  expect(retentionOf(own, common)).toEqual({ ...common, runsMax: 5, logAgeMs: 7 });
});
