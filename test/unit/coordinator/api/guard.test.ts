import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { guarded } from "../../../../coordinator/api/guard.ts";
import type { Role } from "../../../../coordinator/delivery/access/principal.ts";
import type { AuditedCall } from "../../../../coordinator/delivery/audit/audit-log.ts";
import { GetRunResponseSchema, RunService, WatchRunResponseSchema } from "../../../../proto/gen/millrace/v1/run_pb.ts";
import { ShellService } from "../../../../proto/gen/millrace/v1/shell_pb.ts";
import { MillraceError } from "../../../../shared/errors.ts";

/** A guard that knows one token, for as long as it is not taken back. */
function guardWith(role: Role) {
  let isKnown = true;
  const audited: AuditedCall[] = [];
  const options = {
    authenticate: (secret: string) => {
      if (secret === "mr_right" && isKnown) return { name: "user:anna", role };
      throw new MillraceError("unauthenticated", "the token is not known here");
    },
    belongings: { projectOfRun: async () => "shop", projectOfEnvironment: async () => undefined },
    audit: { record: async (call: AuditedCall) => void audited.push(call) },
    observer: { ended: () => undefined },
  };
  const headers = { authorization: "Bearer mr_right" };
  return { options, audited, headers, revoke: () => void (isKnown = false) };
}

/** Implements what a test needs of a service; the rest is never called. */
function partly<T extends typeof RunService | typeof ShellService>(
  service: T,
  some: Partial<ServiceImpl<T>>,
): ServiceImpl<T> {
  const unused = service.methods.map(({ localName }) => [localName, () => expect.unreachable(localName)]);
  return { ...Object.fromEntries(unused), ...some } as ServiceImpl<T>;
}

const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

test("who has lost his token hears no more of what he follows", async () => {
  const { options, headers, revoke } = guardWith("viewer");
  let isLeft = false;
  const impl = partly(RunService, {
    async *watchRun() {
      try {
        yield create(WatchRunResponseSchema, { sequence: 1n });
        revoke();
        yield create(WatchRunResponseSchema, { sequence: 2n });
      } finally {
        isLeft = true;
      }
    },
  });
  const transport = createRouterTransport(({ service }) => service(RunService, guarded(RunService, impl, options)));
  const seen: bigint[] = [];
  const following = (async () => {
    const answers = createClient(RunService, transport).watchRun({ run: "run_1" }, { headers });
    for await (const { sequence } of answers) seen.push(sequence);
  })();
  expect(await codeOf(following)).toBe(Code.Unauthenticated);
  expect(seen).toEqual([1n]);
  expect(isLeft).toBe(true);
});

test.each(["an upload", "a shell"])("what %s sends after its token was taken back does not arrive", async (kind) => {
  const { options, headers, revoke, audited } = guardWith("developer");
  const arrived: (string | undefined)[] = [];
  const wasLetIn = Promise.withResolvers<void>();
  const runs = partly(RunService, {
    async submitRunArchive(messages) {
      for await (const { part } of messages) {
        arrived.push(part.case);
        wasLetIn.resolve();
      }
      return {};
    },
  });
  const shells = partly(ShellService, {
    async *openShell(messages) {
      for await (const message of messages) {
        arrived.push(message.kind.case);
        wasLetIn.resolve();
        if (message.kind.case !== "start") yield { kind: { case: "output" as const, value: Buffer.from("done") } };
      }
    },
  });
  const transport = createRouterTransport(({ service }) => {
    service(RunService, guarded(RunService, runs, options));
    service(ShellService, guarded(ShellService, shells, options));
  });
  async function* parts() {
    yield { part: { case: "start" as const, value: {} } };
    await wasLetIn.promise;
    revoke();
    yield { part: { case: "finish" as const, value: {} } };
  }
  async function* words() {
    yield { kind: { case: "start" as const, value: { run: "run_1" } } };
    await wasLetIn.promise;
    revoke();
    yield { kind: { case: "input" as const, value: Buffer.from("rm -rf /") } };
  }
  const call = async () => {
    if (kind === "an upload") return await createClient(RunService, transport).submitRunArchive(parts(), { headers });
    for await (const _ of createClient(ShellService, transport).openShell(words(), { headers })) expect.unreachable();
  };
  expect(await codeOf(call())).toBe(Code.Unauthenticated);
  expect(arrived).toEqual(["start"]);
  expect(audited).toMatchObject([{ principal: "user:anna", outcome: "unauthenticated" }]);
});

test("a single call is asked for its token once, and ends as it was let in", async () => {
  const { options, headers, revoke } = guardWith("viewer");
  const impl = partly(RunService, {
    getRun: async () => {
      revoke();
      return create(GetRunResponseSchema, { run: { name: "run_1" } });
    },
  });
  const transport = createRouterTransport(({ service }) => service(RunService, guarded(RunService, impl, options)));
  const { getRun } = createClient(RunService, transport);
  expect((await getRun({ run: "run_1" }, { headers })).run?.name).toBe("run_1");
  expect(await codeOf(getRun({ run: "run_1" }, { headers }))).toBe(Code.Unauthenticated);
});
