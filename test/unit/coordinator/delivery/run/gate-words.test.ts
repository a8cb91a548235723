import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Role } from "../../../../../coordinator/delivery/access/principal.ts";
import { decide } from "../../../../../coordinator/delivery/run/decide.ts";
import { bindingOf } from "../../../../../coordinator/delivery/run/gate-binding.ts";
import type { DecideGate } from "../../../../../coordinator/delivery/run/gate-words.ts";
import type { RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun, evolve, type RunState } from "../../../../../coordinator/delivery/run/run-state.ts";
import { runView } from "../../../../../coordinator/delivery/run/run-view.ts";
import {
  type Event,
  EventSchema,
  GateDecision,
  GateFieldKind,
  type ManualGateSchema,
  PlannedTaskSchema,
  RunStatus,
  TaskStatus,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../../../../../shared/digest.ts";
import { from, type MillraceError } from "../../../../../shared/errors.ts";
import { limits } from "../../../../../shared/limits.ts";

const hour = 3_600_000;
const digest = (text: string) => digestToMessage(digestOf(Buffer.from(text)));

type Asked = Partial<MessageInitShape<typeof ManualGateSchema>>;

/** A run of `user:anna` whose gate is open; `ship` is what the task after it is planned to run. */
function atTheGate(asked: Asked = {}, ship = "ship it") {
  const state = emptyRun("run_1");
  const events: Event[] = [];
  const perform = (command: RunCommand, principal = "user:anna", nowMs = 1_000): Event[] => {
    const followed = decide(state, command, { principal, project: "p", traceparent: "", nowMs });
    events.push(...followed);
    return followed;
  };
  const gate = {
    title: "Look",
    approvals: 1,
    timeout: durationFromMs(hour),
    onTimeout: GateDecision.APPROVED,
    ...asked,
  };
  const tasks = [
    create(PlannedTaskSchema, { stage: "look", name: "approval", gate: gate as never }),
    create(PlannedTaskSchema, {
      ...{ stage: "ship", name: "upload", needs: ["look/approval"], commandDigest: digest(ship) },
    }),
    create(PlannedTaskSchema, { stage: "ship", name: "tell", needs: ["ship/upload"] }),
  ];
  perform({
    ...{ kind: "request", pipeline: "shop", pipelinePath: "millrace.yaml", idempotencyKey: "" },
    ...{ source: digest("source"), tasks },
  });
  const task = () => state.tasks.get("look/approval") ?? expect.unreachable("no gate");
  const by = (name: string, role: Role = "approver") => ({ name: `user:${name}`, role });
  const say = (name: string, more: Partial<DecideGate> = {}, nowMs?: number) => {
    const base = { kind: "decide-gate", stage: "look", decision: GateDecision.APPROVED, comment: "" } as const;
    const { hash } = bindingOf(state, task()).digest;
    const command = { ...base, fields: {}, checked: [], newer: undefined, binding: hash, by: by(name), ...more };
    return perform(command, command.by.name, nowMs);
  };
  const gateView = () => runView(state).tasks[0]?.gate ?? expect.unreachable("no gate");
  return { state, events, perform, say, by, task, gateView, status: () => task().status };
}

const kindsOf = (events: readonly Event[]) => events.map(({ kind }) => kind.case);

test("two of three have to approve: different people, and none of them is who asked for the run", () => {
  const told = atTheGate({ approvals: 2, approvers: ["anna", "berta", "carl", "dora"] });
  expect(() => told.say("anna")).toThrow(
    expect.objectContaining({ code: "permission_denied", message: expect.stringContaining("asked for run_1") }),
  );
  expect(() => told.say("eve")).toThrow(expect.objectContaining({ code: "permission_denied" }));
  expect(kindsOf(told.say("berta", { comment: "fine" }))).toEqual(["gateVoted"]);
  expect(told.say("berta", { comment: "fine" })).toEqual([]); // the answer was lost
  expect(told.gateView()).toMatchObject({
    votes: [{ principal: "user:berta", comment: "fine" }],
    missing: ["1 more of anna or berta or carl or dora"],
  });
  expect(kindsOf(told.say("berta", { by: { name: "user:berta", role: "developer" }, comment: "again" }))).toEqual([
    "gateVoted",
  ]);
  expect(told.status()).toBe(TaskStatus.WAITING);
  expect(kindsOf(told.say("carl"))).toEqual(["gateVoted", "gateDecided", "taskFinished", "taskWaiting"]);
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
  expect(told.say("berta", { comment: "again" })).toEqual([]);
  expect(() => told.say("dora")).toThrow(/was approved already, by user:carl/);
});

test("nobody becomes an approver by a name that looks like one", () => {
  const told = atTheGate({ approvers: ["qa"] });
  for (const by of [
    { name: "agent:qa", role: "developer" },
    { name: "system:qa", role: "developer" },
    { name: "user:qa2", role: "developer" },
    { name: "token:user:qa", role: "developer" },
  ] as const) {
    expect(() => told.say("x", { by })).toThrow(expect.objectContaining({ code: "permission_denied" }));
  }
  told.say("x", { by: { name: "token:qa", role: "developer" } });
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
});

test("who asked for the run may approve where the gate says so, and by plans from before it could", () => {
  for (const asked of [{ authorMayApprove: true }, { approvals: 0 }]) {
    const told = atTheGate(asked);
    told.say("anna");
    expect(told.status()).toBe(TaskStatus.SUCCEEDED);
  }
});

test("an approval can be changed and taken back before it is decided, and not afterwards", () => {
  const told = atTheGate({ approvals: 2 });
  told.say("berta");
  told.perform({ kind: "withdraw-vote", stage: "look", by: told.by("berta") }, "user:berta");
  expect(told.perform({ kind: "withdraw-vote", stage: "look", by: told.by("berta") }, "user:berta")).toEqual([]);
  expect(told.gateView().votes).toEqual([]);
  told.say("carl");
  expect(told.status()).toBe(TaskStatus.WAITING);
  told.say("berta", { comment: "now it is" });
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
  expect(() => told.perform({ kind: "withdraw-vote", stage: "look", by: told.by("carl") })).toThrow(/is closed/);
});

test("one rejection rejects, whatever has been approved", () => {
  const told = atTheGate({ approvals: 3 });
  told.say("berta");
  told.say("carl");
  told.say("dora", { decision: GateDecision.REJECTED, comment: "no" });
  expect(told.status()).toBe(TaskStatus.FAILED);
  expect(told.state.status).toBe(RunStatus.FAILED);
});

const look = { checklist: ["checkout works", "refunds work", "mails arrive"] };

test("nobody approves while an item of the checklist is not ticked, and it is said which, and how", () => {
  const told = atTheGate(look);
  expect(told.gateView().missing).toContain("items 1, 2, 3 of the checklist to be ticked (--check 1 2 3)");
  expect(() => told.say("berta")).toThrow(
    expect.objectContaining({
      code: "failed_precondition",
      message:
        "look of run_1 is not approved so:\n" +
        '  checklist: not ticked are 1 "checkout works", 2 "refunds work", 3 "mails arrive"; tick what you have looked at ' +
        "with --check 1 2 3, or all with --check-all",
    }),
  );
  expect(() => told.say("berta", { checked: [0, 2] })).toThrow(/not ticked is 2 "refunds work"; .* with --check 2,/);
  expect(told.status()).toBe(TaskStatus.WAITING);
  told.say("berta", { checked: [2, 0, 1] });
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
  expect(told.gateView().votes).toMatchObject([{ principal: "user:berta", checked: [2, 0, 1] }]);
});

test("ticks are everybody's: the last approval needs those alone that none before has given, and it stays who gave which", () => {
  const told = atTheGate({ ...look, approvals: 2 });
  told.say("berta", { checked: [1] });
  expect(told.gateView().missing).toEqual([
    expect.stringContaining("1 more of"),
    "items 1, 3 of the checklist to be ticked (--check 1 3)",
  ]);
  expect(() => told.say("carl", { checked: [0] })).toThrow(/not ticked is 3 "mails arrive"; .* --check 3, /);
  told.say("carl", { checked: [0, 2] });
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
  expect(told.gateView().votes).toMatchObject([
    { principal: "user:berta", checked: [1] },
    { principal: "user:carl", checked: [0, 2] },
  ]);
});

test("a tick goes with the approval that it came with: taken back, changed, or about what is bound no more", () => {
  const told = atTheGate({ ...look, approvals: 2 });
  told.say("berta", { checked: [0, 1, 2] });
  told.perform({ kind: "withdraw-vote", stage: "look", by: told.by("berta") }, "user:berta");
  told.say("carl", { checked: [0] });
  expect(() => told.say("berta", { checked: [1] })).toThrow(/not ticked is 3/);
  told.say("carl", { checked: [2] });
  expect(() => told.say("berta", { checked: [1] })).toThrow(/not ticked is 1/);
  told.say("carl", { checked: [0, 2] });
  addTask(told.state, create(PlannedTaskSchema, { stage: "ship", name: "late", needs: ["look/approval"] }));
  told.say("berta", { checked: [1] });
  expect(() => told.say("carl", { checked: [0] })).toThrow(/not ticked is 3/);
  told.say("carl", { checked: [0, 2] });
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
});

test("who rejects needs no ticks, and neither does the outcome that a pipeline states for silence", () => {
  const rejected = atTheGate(look);
  rejected.say("berta", { decision: GateDecision.REJECTED, comment: "no" });
  expect(rejected.status()).toBe(TaskStatus.FAILED);
  const silent = atTheGate(look);
  silent.perform({ kind: "gate-timeout", task: "look/approval", newer: undefined }, "system:runs", 1_000 + hour);
  expect(silent.status()).toBe(TaskStatus.SUCCEEDED);
});

test("everything that keeps an approval from being taken is said at once, with the fields and what they may be", () => {
  const fields = [
    { name: "ticket", title: "Ticket", kind: GateFieldKind.TEXT, required: true },
    { name: "risk", kind: GateFieldKind.CHOICE, options: ["low", "high"] },
    { name: "where", kind: GateFieldKind.CHOICE, options: ["eu", "us"], required: true },
    { name: "users", kind: GateFieldKind.NUMBER },
    { name: "told", kind: GateFieldKind.BOOLEAN },
  ];
  const told = atTheGate({ ...look, fields: fields as never, evidenceRequired: true });
  const wrong = { risk: "some", users: "many", told: "yes", extra: "1" };
  const said = caught(() => told.say("berta", { fields: wrong, checked: [0, 3] }));
  expect(said.code).toBe("invalid_argument");
  expect(said.message.split("\n")).toEqual([
    "look of run_1 is not approved so:",
    "  extra: there is no such field; there are ticket, risk, where, users, told",
    "  ticket: has to be filled in, with text (Ticket)",
    '  risk: is one of low, high, not "some"',
    "  where: has to be filled in, with one of eu, us",
    '  users: is a number, not "many"',
    '  told: is true or false, not "yes"',
    "  checklist: has items 1 to 3, each of which can be ticked once; got 1, 4",
    '  checklist: not ticked are 2 "refunds work", 3 "mails arrive"; tick what you have looked at with --check 2 3, ' +
      "or all with --check-all",
    "  evidence: there is none; add it with `millrace evidence run_1 look FILE`",
  ]);
  const [detail] = said.details;
  expect(detail?.value).toMatchObject({
    fieldViolations: expect.arrayContaining([
      expect.objectContaining({ field: "risk", description: 'is one of low, high, not "some"' }),
    ]),
  });
  const twice = caught(() => told.say("berta", { fields: { ticket: "T-1", where: "eu" }, checked: [1, 1] }));
  expect(twice.message).toContain("each of which can be ticked once; got 2, 2");
  const long = caught(() => told.say("berta", { fields: { ticket: "x".repeat(limits.gateFieldChars + 1) } }));
  expect(long.message).toContain(`ticket: has more than ${limits.gateFieldChars} characters`);
  told.perform({ kind: "add-evidence", stage: "look", name: "a", digest: digest("a") }, "user:carl");
  const [voted] = told.say("berta", {
    fields: { ticket: "T-1", risk: "low", where: "us", users: "12", told: "true" },
    checked: [1, 0, 2],
  });
  expect(voted?.kind.value).toMatchObject({ fields: { ticket: "T-1", risk: "low" }, checked: [1, 0, 2] });
});

test("however much is wrong, the answer stays short enough to travel", () => {
  const items = Array.from({ length: limits.gateItems }, () => "x".repeat(limits.gateTextChars));
  const fields = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`${"y".repeat(9_999)}${n}`, "1"]));
  const { message } = caught(() => atTheGate({ checklist: items }).say("berta", { fields }));
  expect(message.length).toBeLessThan(6_000);
  expect(message).toMatch(/and 98\d more/);
});

function caught(act: () => unknown): MillraceError {
  try {
    act();
  } catch (error) {
    return from(error);
  }
  return expect.unreachable("nothing was thrown");
}

test("where evidence is asked for nobody approves without, and it is bounded", () => {
  const told = atTheGate({ evidenceRequired: true });
  expect(told.gateView().missing).toContain("evidence");
  expect(() => told.say("berta")).toThrow(
    expect.objectContaining({
      code: "failed_precondition",
      message: expect.stringContaining("evidence: there is none; add it with `millrace evidence run_1"),
    }),
  );
  const add = (name: string) => ({ kind: "add-evidence", stage: "look", name, digest: digest(name) }) as const;
  for (let n = 0; n < limits.gateEvidence; n += 1) told.perform(add(`${n}.png`), "user:carl");
  expect(() => told.perform(add("one more"))).toThrow(expect.objectContaining({ code: "resource_exhausted" }));
  told.perform(add("0.png"), "user:dora");
  expect(told.gateView().evidence.at(0)).toMatchObject({ name: "0.png", principal: "user:dora" });
  told.say("berta");
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
  expect(() => told.perform(add("0.png"))).toThrow(/is closed/);
});

test("an approval is about what the run does afterwards, too: another plan is another binding, and votes for it do not count", () => {
  const [one, other] = [atTheGate(), atTheGate({}, "ship something else")];
  const hashOf = ({ state, task }: typeof one) => bindingOf(state, task()).digest.hash;
  expect(hashOf(one)).toBe(hashOf(atTheGate()));
  expect(hashOf(one)).not.toBe(hashOf(other));
  expect(() => other.say("berta", { binding: hashOf(one) })).toThrow(/now binds .* the plan have changed/);

  const told = atTheGate({ approvals: 2 });
  told.say("berta");
  const late = create(PlannedTaskSchema, { stage: "ship", name: "late", needs: ["look/approval"] });
  addTask(told.state, late);
  expect(told.gateView()).toMatchObject({ votes: [], missing: [expect.stringContaining("2 more of")] });
  told.say("carl");
  expect(told.status()).toBe(TaskStatus.WAITING);
  told.say("berta");
  expect(told.status()).toBe(TaskStatus.SUCCEEDED);
});

/** As if the run had been given one more task. */
function addTask(state: RunState, planned: ReturnType<typeof create<typeof PlannedTaskSchema>>): void {
  evolve(state, create(EventSchema, { kind: { case: "runPlanned", value: { tasks: [planned] } } }));
}

test("what is older than an approved run is not approved any more: not by people, and not by its time-out", () => {
  const newer = { run: "run_14", approvedMs: Date.parse("2026-11-30T10:00:00Z") };
  const told = atTheGate();
  expect(() => told.say("berta", { newer })).toThrow(
    expect.objectContaining({
      code: "failed_precondition",
      message: "look of run_1 is superseded: run_14 was approved at 2026-11-30T10:00:00.000Z",
    }),
  );
  told.perform({ kind: "gate-timeout", task: "look/approval", newer }, "system:runs", 1_000 + hour);
  expect(told.task().outcome?.ending?.detail).toContain("superseded: run_14");
  expect(told.status()).toBe(TaskStatus.FAILED);
  const rejected = atTheGate();
  rejected.say("berta", { newer, decision: GateDecision.REJECTED, comment: "too late" });
  expect(rejected.status()).toBe(TaskStatus.FAILED);
});

test("whoever says what in which order: a gate is approved when enough different people have, and at no other moment", () => {
  const people = fc.constantFrom("anna", "berta", "carl", "dora", "emil");
  const word = fc.record({ who: people, what: fc.constantFrom("approve", "withdraw") });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(word, { maxLength: 25 }), (approvals, words) => {
      const told = atTheGate({ approvals });
      const standing = new Set<string>();
      for (const { who, what } of words) {
        const before = told.status();
        if (before !== TaskStatus.WAITING) break;
        if (what === "withdraw") {
          told.perform({ kind: "withdraw-vote", stage: "look", by: told.by(who) }, `user:${who}`);
          standing.delete(who);
        } else if (who === "anna") expect(() => told.say(who)).toThrow(/somebody else/);
        else {
          told.say(who);
          standing.add(who);
        }
        const expected = standing.size >= approvals ? TaskStatus.SUCCEEDED : TaskStatus.WAITING;
        expect(told.status()).toBe(expected);
      }
      const again = emptyRun("run_1");
      for (const event of told.events) evolve(again, event);
      expect(runView(again)).toEqual(runView(told.state));
    }),
  );
});
