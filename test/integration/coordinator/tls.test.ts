import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import { parseToken } from "../../../shared/rpc/token.ts";
import { startTestCoordinator } from "../../support/coordinator.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { testAuthority } from "../../support/tls-farm.ts";

test("every token of a farm with a CA of its own names it; the coordinator knows the part before the dot", async () => {
  const farm = await testAuthority();
  const { fingerprint } = farm.authority;
  const coordinator = await startTestCoordinator(tempDir(), { tls: farm });
  for (const role of ["admin", "agent"] as const)
    expect(parseToken(coordinator.tokenOf(role))).toMatchObject({ fingerprint });

  const made = await coordinator.as("admin").admin.createToken({ role: Role.DEVELOPER, name: "anna" });
  expect(parseToken(made.secret).fingerprint).toBe(fingerprint);
  // With and without: clients of others send what they were given.
  for (const bearer of [parseToken(made.secret).secret, made.secret]) {
    const { admin } = coordinator.withToken(bearer);
    expect(await admin.describeCoordinator({})).toMatchObject({ principal: "token:anna" });
  }
});

test("HTTP is HTTPS with the same certificate", async () => {
  const farm = await testAuthority();
  const { http } = await startTestCoordinator(tempDir(), { tls: farm });
  const get = request(`${http}/healthz`, { ca: farm.authority.caPem, servername: "farm.example.org" }).end();
  const [response] = (await once(get, "response")) as [IncomingMessage];
  expect([response.statusCode, await text(response)]).toEqual([200, expect.stringContaining("ok")]);
  await expect(fetch(http.replace("https:", "http:"))).rejects.toThrow(/fetch failed/);
});

test("the first tokens stay the same when a farm gets a CA, and when it goes back to loopback", async () => {
  const data = tempDir();
  const farm = await testAuthority();
  const secrets: string[] = [];
  for (const tls of [undefined, farm, undefined]) {
    const coordinator = await startTestCoordinator(data, { tls });
    const { secret, fingerprint } = parseToken(coordinator.tokenOf("admin"));
    expect(fingerprint).toBe(tls?.authority.fingerprint);
    secrets.push(secret);
    await coordinator.as("admin").admin.describeCoordinator({});
    await coordinator.stop();
  }
  expect(new Set(secrets).size).toBe(1);
});

test("a token file that an admin wrote is taken, and becomes his alone", async () => {
  const data = tempDir();
  await (await startTestCoordinator(data)).stop();
  const file = join(data, "tokens", "admin");
  writeFileSync(file, "chosen-by-an-admin");
  const coordinator = await startTestCoordinator(data, { tls: await testAuthority() });
  expect(readFileSync(file, "utf8")).toMatch(/^chosen-by-an-admin\.[\w-]{43}\n$/);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await coordinator.withToken("chosen-by-an-admin").admin.describeCoordinator({})).toMatchObject({
    principal: "token:admin",
  });
});
