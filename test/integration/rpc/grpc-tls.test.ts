import { Code, createClient } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { grpcServer, mounted } from "../../../coordinator/api/grpc/grpc-server.ts";
import { Capabilities } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { explainedTransport } from "../../../shared/rpc/explained-transport.ts";
import { grpcTransport } from "../../../shared/rpc/grpc-transport.ts";
import type { ServerTls } from "../../../shared/tls/server-tls.ts";
import { tlsMismatch } from "../../../shared/tls/tls-mismatch.ts";
import { authorityTrust, type Trust } from "../../../shared/tls/trust.ts";
import { httpsServer, testAuthority } from "../../support/tls-farm.ts";

/** A gRPC server that says which tokens it was shown; plain without `tls`. */
async function server(tls?: ServerTls) {
  const seen: (string | null)[] = [];
  const impl = {
    getCapabilities(_request: unknown, { requestHeader }: { requestHeader: Headers }) {
      seen.push(requestHeader.get("authorization"));
      return {};
    },
  };
  const grpc = grpcServer([mounted(Capabilities, impl)], tls);
  const port = await grpc.listen("127.0.0.1", 0);
  onTestFinished(() => grpc.close(0));
  return { seen, port, grpc };
}

async function call(address: string, trust: Trust | undefined) {
  const transport = grpcTransport({ address, token: "mr_secret", trust });
  onTestFinished(() => transport.close());
  const explained = explainedTransport(transport, () => tlsMismatch(address, trust));
  return createClient(Capabilities, explained).getCapabilities({});
}

test("with the farm's own CA a call goes through, also by a name that the certificate does not have", async () => {
  const farm = await testAuthority();
  const { port, seen } = await server(farm);
  await call(`127.0.0.1:${port}`, authorityTrust(farm.authority.caPem));
  await call(`localhost:${port}`, authorityTrust(farm.authority.caPem));
  expect(seen).toEqual(["Bearer mr_secret", "Bearer mr_secret"]);
});

test("somebody in between with a CA of his own is refused before the token is sent", async () => {
  const [farm, other] = [await testAuthority(), await testAuthority()];
  const { port, seen } = await server(other);
  await expect(call(`127.0.0.1:${port}`, authorityTrust(farm.authority.caPem))).rejects.toMatchObject({
    code: "unauthenticated",
    message: expect.stringMatching(/is not the farm that the token is for: it shows the CA .* somebody stands between/),
  });
  expect(seen).toEqual([]);
});

test("with other authorities the name must be in the certificate", async () => {
  const farm = await testAuthority();
  const { port, seen } = await server(farm);
  const trust = { caPem: farm.authority.caPem, checksName: true };
  await expect(call(`127.0.0.1:${port}`, trust)).rejects.toMatchObject({
    code: "unauthenticated",
    message: expect.stringMatching(/is not accepted: .*127\.0\.0\.1/),
  });
  await expect(call(`localhost:${port}`, { caPem: undefined, checksName: true })).rejects.toMatchObject({
    code: "unauthenticated",
    message: expect.stringContaining("self-signed certificate in certificate chain"),
  });
  expect(seen).toEqual([]);
});

test("a token without a fingerprint does not reach a port that speaks TLS, and hears what to use", async () => {
  const { port, seen } = await server(await testAuthority());
  await expect(call(`127.0.0.1:${port}`, undefined)).rejects.toMatchObject({
    code: "unauthenticated",
    message: expect.stringMatching(
      /speaks TLS, and the token does not say whose: it was not sent.*millrace token create/,
    ),
  });
  expect(seen).toEqual([]);
});

test("a token with a fingerprint does not reach a plain port", async () => {
  const { port, seen } = await server();
  const { caPem } = (await testAuthority()).authority;
  await expect(call(`127.0.0.1:${port}`, authorityTrust(caPem))).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringMatching(/does not speak TLS.*--insecure/),
  });
  expect(seen).toEqual([]);
});

test("the HTTP port of the same farm is told from its gRPC port", async () => {
  const farm = await testAuthority();
  const port = await httpsServer(farm);
  await expect(call(`127.0.0.1:${port}`, authorityTrust(farm.authority.caPem))).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining("speaks TLS and no gRPC"),
  });
});

test("nobody there is no question of TLS", async () => {
  const { caPem } = (await testAuthority()).authority;
  await expect(call("127.0.0.1:1", authorityTrust(caPem))).rejects.toThrow(/ECONNREFUSED/);
});

test("once a server has answered, what happens is an outage and not explained any more", async () => {
  const farm = await testAuthority();
  const { port, grpc } = await server(farm);
  const transport = grpcTransport({ address: `127.0.0.1:${port}`, trust: authorityTrust(farm.authority.caPem) });
  onTestFinished(() => transport.close());
  let asked = 0;
  const explained = explainedTransport(transport, async () => {
    asked += 1;
    return undefined;
  });
  const client = createClient(Capabilities, explained);
  await client.getCapabilities({});
  await grpc.close(0);
  await expect(client.getCapabilities({})).rejects.toMatchObject({ code: Code.Unavailable });
  expect(asked).toBe(0);
  const fresh = createClient(
    Capabilities,
    explainedTransport(transport, async () => void (asked += 1)),
  );
  await expect(fresh.getCapabilities({})).rejects.toMatchObject({ code: Code.Unavailable });
  expect(asked).toBe(1);
});
