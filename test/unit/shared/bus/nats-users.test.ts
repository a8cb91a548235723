import fc from "fast-check";
import { expect, test } from "vitest";
import { isBusPublicKey, newBusKey } from "../../../../shared/bus/bus-key.ts";
import { natsUsersText } from "../../../../shared/bus/nats-users.ts";
import { subjectMatches } from "../../../../shared/bus/subject-match.ts";
import { inboxOf, permissionsOf, subjects } from "../../../../shared/bus/subjects.ts";
import { madeUpPublicKeys } from "../../../support/enrol.ts";

const agentId = fc.stringMatching(/^[a-z0-9-]{1,64}$/);
const said = (id: string) => [subjects.heartbeat(id), subjects.report(id), subjects.goodbye(id)];
const heard = (id: string) => [
  ...[subjects.assign(id), subjects.cancel(id), subjects.rejoin(id), subjects.drain(id)],
  `${inboxOf(id)}.abc.1`,
];
const covers = (patterns: readonly string[], subject: string) =>
  patterns.some((pattern) => subjectMatches(pattern, subject));

test("an agent may say and hear all that is its own, and nothing that is another's", () => {
  fc.assert(
    fc.property(agentId, agentId, (one, other) => {
      const { publish, subscribe } = permissionsOf(one);
      expect(said(one).every((subject) => covers(publish, subject))).toBe(true);
      expect(heard(one).every((subject) => covers(subscribe, subject))).toBe(true);
      expect(covers(subscribe, subjects.rollCall)).toBe(true);
      // What the farm hears, no agent may listen to; what agents hear, no agent may say.
      expect([...said(one), ...said(other)].some((subject) => covers(subscribe, subject))).toBe(false);
      expect([...heard(one), ...heard(other)].some((subject) => covers(publish, subject))).toBe(false);
      if (one === other) return;
      expect(said(other).some((subject) => covers(publish, subject))).toBe(false);
      expect(heard(other).some((subject) => covers(subscribe, subject))).toBe(false);
    }),
  );
});

test.each(["a b", 'a"', "a.b", "*", ">", "A", "", "a\n} ]"])("an id such as %j gets into no server's file", (id) => {
  const coordinator = { user: "c", password: "p" };
  const { publicKey } = newBusKey();
  const agents = [{ agentId: id, publicKey }];
  expect(() => natsUsersText({ coordinator, agents })).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  const forged = [{ agentId: "a", publicKey: `${publicKey} }` }];
  expect(() => natsUsersText({ coordinator, agents: forged })).toThrow(
    expect.objectContaining({ code: "invalid_argument" }),
  );
});

test("a public key of a user is known by its form and its checksum", () => {
  const { publicKey, seed } = newBusKey();
  expect(isBusPublicKey(publicKey)).toBe(true);
  const [madeUp = ""] = madeUpPublicKeys(1);
  expect(isBusPublicKey(madeUp)).toBe(true);
  const last = publicKey.endsWith("A") ? "B" : "A";
  for (const wrong of [seed, `${publicKey.slice(0, -1)}${last}`, publicKey.slice(1), "", `${publicKey} `]) {
    expect(isBusPublicKey(wrong)).toBe(false);
  }
});
