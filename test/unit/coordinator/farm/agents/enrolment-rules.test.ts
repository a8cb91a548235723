import { describe, expect, test } from "vitest";
import {
  decideEnrolment,
  type EnrolmentCase,
  type HeldEnrolment,
} from "../../../../../coordinator/farm/agents/enrolment-rules.ts";
import type { EnrolmentToken } from "../../../../../coordinator/farm/agents/enrolments.ts";

const agent = { id: "a", hostname: "h", publicKey: "UA", secretSha256: "aa" };
const others = { ...agent, hostname: "elsewhere", publicKey: "UB", secretSha256: "bb" };
const token: EnrolmentToken = {
  ...{ name: "t", pool: "default", ephemeral: false },
  ...{ createdMs: 0, expiresMs: 1_000, usedBy: undefined },
};
const held = (by: typeof agent, admittedBy: HeldEnrolment["admittedBy"]): HeldEnrolment => ({
  ...{ ...by, pool: undefined, ephemeral: false, enrolledMs: 0, admittedBy },
});
const once = { kind: "once", token: "t" } as const;
const always = (mayReplace: boolean) => ({ kind: "always", token: "agent", mayReplace }) as const;

function decide(differences: Partial<EnrolmentCase>) {
  const usual: EnrolmentCase = { agent, admission: once, token, held: undefined, twin: undefined, nowMs: 999 };
  return decideEnrolment({ ...usual, ...differences });
}

describe("an agent is let in", () => {
  const letIn: readonly (readonly [string, "new" | "again", Partial<EnrolmentCase>])[] = [
    ["with a token that was not used", "new", {}],
    [
      "with a token of the farm's own, which has no end",
      "new",
      { admission: always(false), token: undefined, nowMs: 1e12 },
    ],
    [
      "again with the same keys and the token it used",
      "again",
      { held: held(agent, "once"), token: { ...token, usedBy: "a" } },
    ],
    [
      "again also after the token's end: its first answer may have been lost",
      "again",
      { held: held(agent, "once"), token: { ...token, usedBy: "a" }, nowMs: 5_000 },
    ],
    ["again with a token that is new, and does not use it up", "again", { held: held(agent, "once") }],
    [
      "in place of one that is away, by a token of the farm's own that let in both",
      "new",
      { held: held(others, "always"), admission: always(true), token: undefined },
    ],
  ];
  test.each(letIn)("%s", (_, ruling, differences) => {
    expect(decide(differences)).toBe(ruling);
  });
});

describe("an agent is refused", () => {
  const refused: readonly (readonly [string, string, RegExp, Partial<EnrolmentCase>])[] = [
    [
      "with a token that let in another",
      "permission_denied",
      /let in the agent "b"/,
      { token: { ...token, usedBy: "b" } },
    ],
    [
      "with the token it used and other keys",
      "permission_denied",
      /let in the agent "a"/,
      { held: held(others, "once"), token: { ...token, usedBy: "a" } },
    ],
    [
      "with the token it used, once it was removed",
      "permission_denied",
      /token create/,
      { token: { ...token, usedBy: "a" } },
    ],
    ["with a token from its last moment on", "unauthenticated", /expired at 1970/, { nowMs: 1_000 }],
    ["with a token that was revoked meanwhile", "unauthenticated", /was revoked/, { token: undefined }],
    [
      "under an id that another has",
      "already_exists",
      /enrolled from elsewhere at .*--name.*agents remove a/,
      { held: held(others, "once") },
    ],
    [
      "in place of one that is there",
      "already_exists",
      /enrolled from elsewhere/,
      { held: held(others, "always"), admission: always(false), token: undefined },
    ],
    [
      "in place of one that a token of its own let in",
      "already_exists",
      /enrolled from elsewhere/,
      { held: held(others, "once"), admission: always(true), token: undefined },
    ],
    ["with the keys of another", "already_exists", /keys of the agent "b"/, { twin: "b" }],
  ];
  test.each(refused)("%s", (_, code, message, differences) => {
    expect(() => decide(differences)).toThrow(
      expect.objectContaining({ code, message: expect.stringMatching(message) }),
    );
  });
});
