import { expect, test } from "vitest";
import type { RunCommand } from "../../../../coordinator/delivery/run/run-command.ts";
import { keptRoots } from "../../../../coordinator/keeping/garbage/needed-blobs.ts";
import { EndingKind, type PlannedTask, TaskStatus } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestKey, digestToMessage } from "../../../../shared/digest.ts";
import { textBlob } from "../../../support/blobs.ts";
import { plannedTask, type Story, startStory } from "../../../support/story.ts";

const named = (text: string) => digestToMessage(textBlob(text).digest);
const reopen: RunCommand = {
  ...{ kind: "reopen", tasks: ["t"], avoidAgents: [], avoidLastAgent: false, bypassCache: false },
};
const cached = (log: string): RunCommand => ({
  kind: "finish",
  task: "s/t",
  outcome: {
    ...{ status: TaskStatus.SUCCEEDED, ending: { kind: EndingKind.EXITED, exitCode: 0 }, cached: true },
    logDigest: named(log),
  },
});
const keptOf = ({ state }: Story) => keptRoots(state).map(({ digest }) => digestKey(digest));
const keysOf = (...texts: string[]) => texts.map((text) => digestKey(textBlob(text).digest));

test("the log of each try is kept that came from the cache, and not of the last one alone", () => {
  const story = startStory([plannedTask("t")]);
  story.do(cached("first"));
  story.do(reopen);
  story.do(cached("second"));
  expect(keptOf(story)).toEqual(keysOf("first", "second"));
});

test("evidence is kept that was laid beside a gate that opened anew, and what a later file of its name replaced", () => {
  const gate = { title: "look" } as PlannedTask["gate"] & object;
  const story = startStory([plannedTask("t"), plannedTask("look", ["t"], { gate })]);
  const lay = (text: string) => story.do({ kind: "add-evidence", stage: "s", name: "seen.txt", digest: named(text) });
  story.do(cached("log"));
  lay("draft");
  lay("first");
  story.do(reopen);
  story.do(cached("log again"));
  lay("second");
  expect(keptOf(story)).toEqual(keysOf("log", "draft", "first", "log again", "second"));
});
