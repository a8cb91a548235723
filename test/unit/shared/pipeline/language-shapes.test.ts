import { describe, expect, it } from "vitest";
import { z } from "zod";
import { pipelineShape } from "../../../../shared/pipeline/schema.ts";
import { parsed, problemsOf, tasksOf, withTask } from "../../../support/pipelines.ts";

describe("what starts runs by itself", () => {
  it("is kept as it is written", () => {
    const { triggers } = parsed(
      withTask(
        "{ run: x }",
        'on: { push: { branches: [main, "release/*"], paths: ["src/**"] }, pull_request: {}, schedule: "0 3 * * *", upstream: [lib] }\n',
      ),
    );
    expect(triggers).toEqual({
      push: { branches: ["main", "release/*"], paths: ["src/**"] },
      pull_request: {},
      schedule: ["0 3 * * *"],
      upstream: ["lib"],
    });
  });

  it.each([
    ["on: { puhs: {} }\n", 'unknown key "puhs" in on\n  hint: did you mean "push"?'],
    ["on: { push: { branch: [a] } }\n", 'unknown key "branch" in a trigger\n  hint: did you mean "branches"?'],
    ["on: { schedule: daily }\n", 'is not a schedule: "daily"'],
    ["params: { a-b: x }\n", 'this key is not a name that expressions can read: "a-b"'],
    ["params: { a: { type: choice } }\n", '"options" are what one chooses from: give at least one'],
    ["params: { a: { type: text } }\n", '"type" must be string, number, boolean or choice, not "text"'],
    ["params: { a: { defualt: x } }\n", 'unknown key "defualt" in a parameter'],
    ["priority: high\n", '"priority" must be a whole number'],
  ])("%j is refused with what is wrong", (top, message) => {
    expect(problemsOf(withTask("{ run: x }", top)).join("\n")).toContain(message);
  });
});

describe("services", () => {
  it("have what they say, and a time-out where they say none", () => {
    const [task] = tasksOf(
      parsed(
        withTask(
          "{ run: x, services: { db: { run: 'db ${{ branch }}', ready: { tcp: 5432 }, env: { B: b, A: a } }, web: { run: w, timeout: 5s } } }",
        ),
      ),
    );
    expect(task?.services).toEqual([
      { name: "db", run: "db main", ready: { tcp: "5432" }, timeoutMs: 60_000, env: { A: "a", B: "b" } },
      { name: "web", run: "w", ready: {}, timeoutMs: 5_000, env: {} },
    ]);
  });

  it.each([
    ["{ db: { ready: { tcp: 1 } } }", '"db" has no "run"'],
    ["{ db: { run: x, ready: {} } }", '"ready" must have exactly one of tcp, http and exec'],
    ["{ db: { run: x, ready: { tcp: 1, exec: y } } }", '"ready" must have exactly one of tcp, http and exec'],
    ["{ db: { run: x, ready: { udp: 1 } } }", 'unknown key "udp" in ready'],
    ["{ db: { run: x, ready: { tcp: 70000 } } }", '"tcp" is not a port: "70000"'],
    ["{ db: { run: x, ready: { http: 'http://h/$(reboot)' } } }", "is not an http address"],
    ["{ db: { run: x, image: y } }", '"image" is not supported yet'],
    ["{ DB: { run: x } }", 'this key is not a name: "DB"'],
    [`{ ${Array.from({ length: 11 }, (_, n) => `s${n}: { run: x }`).join()} }`, '"services" has more than 10 services'],
  ])("%s say what is wrong", (services, message) => {
    expect(problemsOf(withTask(`{ run: x, services: ${services} }`)).join("\n")).toContain(message);
  });
});

it("priorities of stage and pipeline hold for tasks that state none", () => {
  const text = `name: p
priority: 1
stages:
  a: { priority: 2, tasks: { x: { run: x }, y: { run: x, priority: 3 } } }
  b: { tasks: { z: { run: x } } }
`;
  expect(tasksOf(parsed(text)).map(({ priority }) => priority)).toEqual([2, 3, 1]);
});

it("every key of the language says in a sentence what it is for", () => {
  const silent: string[] = [];
  const look = (schema: unknown, path: string): void => {
    if (typeof schema !== "object" || schema === null) return;
    for (const [key, value] of Object.entries(schema)) {
      if (key !== "properties" || typeof value !== "object" || value === null) look(value, `${path}/${key}`);
      else {
        for (const [name, property] of Object.entries(value as Record<string, { description?: string }>)) {
          if (!/^[A-Z`]?.*[.]$/.test(property.description ?? "")) silent.push(`${path}/${name}`);
          look(property, `${path}/${name}`);
        }
      }
    }
  };
  look(z.toJSONSchema(pipelineShape, { io: "input", unrepresentable: "any" }), "");
  expect(silent).toEqual([]);
});
