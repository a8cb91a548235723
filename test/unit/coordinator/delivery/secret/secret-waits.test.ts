import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { secretWaits } from "../../../../../coordinator/delivery/secret/secret-waits.ts";
import { PlannedTaskSchema } from "../../../../../proto/gen/millrace/v1/event_pb.ts";

function heldSecrets() {
  const there = new Set<string>();
  const listeners = new Set<(project: string, name: string) => void>();
  const waits = secretWaits({
    missing: (project, names) => names.filter((name) => !there.has(`${project}/${name}`)),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  return {
    waits,
    listeners,
    set(project: string, name: string) {
      there.add(`${project}/${name}`);
      for (const listener of listeners) listener(project, name);
    },
  };
}

const user = (...secrets: string[]) => ({
  project: "shop",
  planned: create(PlannedTaskSchema, { secrets: secrets.map((secret) => ({ secret, env: secret.toUpperCase() })) }),
});

test("a task is tried again once the secret that it lacks is set in its project", () => {
  const { waits, set } = heldSecrets();
  let again = 0;
  expect(waits.reason(user("token"))).toBe("the secret token has no value: `millrace secret set token --project shop`");
  waits.watch("run_1.a.b", user("token"), () => (again += 1));
  set("shop", "other");
  set("default", "token");
  expect(again).toBe(0);
  set("shop", "token");
  set("shop", "token");
  expect(again).toBe(1);
  expect(waits.reason(user("token"))).toBeUndefined();
});

test("one that lacks several is told of all, and tried again after the first", () => {
  const { waits, set } = heldSecrets();
  let again = 0;
  const both = user("a", "b");
  expect(waits.reason(both)).toContain("the secrets a, b have no value");
  waits.watch("task", both, () => (again += 1));
  set("shop", "b");
  expect(again).toBe(0);
  set("shop", "a");
  expect(again).toBe(1);
});

test("what was set before it is watched is not missed", () => {
  const { waits, set } = heldSecrets();
  let again = 0;
  set("shop", "token");
  waits.watch("task", user("token"), () => (again += 1));
  expect(again).toBe(1);
});

test("one that left, and one that is closed, hear nothing more", () => {
  const { waits, set, listeners } = heldSecrets();
  let again = 0;
  waits.watch("task", user("token"), () => (again += 1));
  waits.leave("task");
  set("shop", "token");
  waits.close();
  expect(again).toBe(0);
  expect(listeners.size).toBe(0);
});
