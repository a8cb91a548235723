import fc from "fast-check";
import { expect, test } from "vitest";
import { subjectMatches } from "../../../../shared/bus/subject-match.ts";
import { subjects } from "../../../../shared/bus/subjects.ts";

const token = fc.stringMatching(/^[a-z]{1,3}$/);
const subject = fc.array(token, { minLength: 1, maxLength: 6 });

test("a subject matches itself and every pattern with some of its tokens replaced by *", () => {
  fc.assert(
    fc.property(subject, fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }), (tokens, stars) => {
      const pattern = tokens.map((each, index) => (stars[index] ? "*" : each));
      expect(subjectMatches(pattern.join("."), tokens.join("."))).toBe(true);
      expect(subjectMatches(pattern.join("."), [...tokens, "more"].join("."))).toBe(false);
    }),
  );
});

test("> stands for one or more tokens at the end", () => {
  fc.assert(
    fc.property(subject, subject, (head, tail) => {
      expect(subjectMatches([...head, ">"].join("."), [...head, ...tail].join("."))).toBe(true);
      expect(subjectMatches([...head, ">"].join("."), head.join("."))).toBe(false);
    }),
  );
});

test("the coordinator's wildcards cover every agent's own subject", () => {
  for (const own of [subjects.heartbeat, subjects.report, subjects.goodbye]) {
    expect(subjectMatches(own("*"), own("agent-1"))).toBe(true);
  }
  expect(subjectMatches(subjects.heartbeat("*"), subjects.report("agent-1"))).toBe(false);
});
