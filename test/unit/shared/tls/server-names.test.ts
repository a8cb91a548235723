import { expect, test } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { serverNames } from "../../../../shared/tls/server-names.ts";

const at = (address: string, internal = false) => {
  const family = address.includes(":") ? ("IPv6" as const) : ("IPv4" as const);
  const common = { address, netmask: "", mac: "", internal, cidr: null };
  return family === "IPv6" ? { ...common, family, scopeid: 0 } : { ...common, family };
};

test("all names of the machine, those that were given first", () => {
  const interfaces = {
    lo: [at("127.0.0.1", true)],
    eth0: [at("10.0.0.5"), at("2001:db8::5"), at("fe80::1")],
    none: undefined,
  };
  const names = serverNames({ host: "10.0.0.5", advertise: "Farm.example.org", hostname: "box", interfaces });
  expect(names).toEqual(["farm.example.org", "10.0.0.5", "localhost", "127.0.0.1", "::1", "box", "2001:db8::5"]);
});

test("what no certificate can hold is left out", () => {
  for (const hostname of ["", "büro", "a b", "x".repeat(64), "trailing."]) {
    const names = serverNames({ host: "0.0.0.0", advertise: undefined, hostname, interfaces: {} });
    expect(names).toEqual(["localhost", "127.0.0.1", "::1"]);
  }
});

test("a machine with very many addresses gives the first ones", () => {
  const many = Array.from({ length: 300 }, (_, index) => at(`10.1.${index >> 8}.${index & 255}`));
  const names = serverNames({ host: "::", advertise: undefined, hostname: "box", interfaces: { eth0: many } });
  expect(names).toHaveLength(limits.tlsServerNames);
  expect(names[0]).toBe("localhost");
});
