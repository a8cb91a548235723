import { expect, test } from "vitest";
import { busServersOf, busTrustOf } from "../../../../agent/session/bus-servers.ts";

const own = { caPem: "own", checksName: false };
const system = { caPem: undefined, checksName: true };

test.each([
  ["tls://0.0.0.0:7422", "tls://farm:7422"],
  ["nats://[::]:7422", "nats://farm:7422"],
  ["tls://10.0.0.5:7422", "tls://10.0.0.5:7422"],
  ["tls://nats.example.org:4222", "tls://nats.example.org:4222"],
])("a bus at %s is reached at %s by an agent that reached the coordinator at farm", (told, reached) => {
  expect(busServersOf({ natsServers: [told] }, "farm:7070")).toEqual([reached]);
});

test("a coordinator that was reached by an IPv6 address is so, too, as the bus", () => {
  expect(busServersOf({ natsServers: ["tls://0.0.0.0:1"] }, "[2001:db8::5]:7070")).toEqual(["tls://[2001:db8::5]:1"]);
});

test.each([
  { servers: ["tls://a:1"], natsCa: "", trust: own, expected: own },
  { servers: ["tls://a:1"], natsCa: "", trust: undefined, expected: system },
  { servers: ["tls://a:1"], natsCa: "system", trust: own, expected: system },
  { servers: ["tls://a:1"], natsCa: "PEM", trust: own, expected: { caPem: "PEM", checksName: true } },
  { servers: ["nats://a:1"], natsCa: "", trust: own, expected: undefined },
  // One that is to be TLS makes all be: a client does not choose the plain one.
  { servers: ["nats://a:1", "tls://b:1"], natsCa: "", trust: own, expected: own },
])("a bus at $servers with the CA `$natsCa` is trusted as the coordinator says", ({ servers, natsCa, ...rest }) => {
  const { trust, expected } = rest;
  expect(busTrustOf({ natsServers: servers, natsCa }, { address: "farm:7070", trust })).toEqual(expected);
});
