import fc from "fast-check";
import { expect, test } from "vitest";
import { hostPort, isAnyAddress, isLoopback, localHost, splitAddress } from "../../../shared/network-address.ts";

test.each(["127.0.0.1", "127.8.8.8", "::1", "localhost"])("%s is this machine alone", (host) => {
  expect(isLoopback(host)).toBe(true);
});

test.each(["0.0.0.0", "::", "192.168.1.2", "build.example.com", "127.0.0.1.example.com"])(
  "%s can be reached by others",
  (host) => {
    expect(isLoopback(host)).toBe(false);
  },
);

test("a server that listens everywhere is reached on this machine", () => {
  expect(hostPort(localHost("0.0.0.0"), 7070)).toBe("127.0.0.1:7070");
  expect(hostPort(localHost("::"), 7070)).toBe("[::1]:7070");
  expect(hostPort(localHost("farm"), 7070)).toBe("farm:7070");
  expect(["0.0.0.0", "::", "0.0.0.1"].map(isAnyAddress)).toEqual([true, true, false]);
});

test.each(["farm", "farm:", ":7070", "farm:70000", "http://farm:7080", "farm:7070/", "a farm:1"])(
  "%j is no address of a server",
  (text) => {
    expect(() => splitAddress(text)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
  },
);

test("a socket in a folder is an address, too", () => {
  expect(splitAddress("unix:/run/farm/10.0.0.1:7070")).toEqual({ host: "unix:/run/farm/10.0.0.1", port: 7070 });
});

test("an address is read as it was written", () => {
  const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
  fc.assert(
    fc.property(host, fc.integer({ min: 0, max: 65_535 }), (theHost, port) => {
      expect(splitAddress(hostPort(theHost, port))).toEqual({ host: theHost, port });
    }),
  );
});

test.each(["", "farm", "farm:", ":7070", "[::1]", "farm:http"])("%j is no address", (text) => {
  expect(() => splitAddress(text)).toThrow(/is not host:port/);
});
