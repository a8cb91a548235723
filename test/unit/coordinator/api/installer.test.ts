import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fillInstaller, type InstallerFacts, parseHost } from "../../../../coordinator/api/install/installer.ts";
import { installerAddress } from "../../../../coordinator/api/install/installer-address.ts";

const script = readFileSync(resolve(import.meta.dirname, "../../../../deploy/install.sh"), "utf8");

const facts: InstallerFacts = {
  http: { scheme: "https", host: { name: "farm.example.org", port: 7080 } },
  grpcPort: 7070,
  caPem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
  programs: [{ name: "millrace-1.0.0-linux-x64", version: "1.0.0", platform: "linux-x64", sha256: "ab", sizeBytes: 2 }],
  advice: "do 'this' & $(that)",
};

/** What a shell makes of the filled-in lines. */
function variable(filled: string, name: string): string {
  const lines = filled.slice(filled.indexOf("served_http="), filled.indexOf("user=millrace-agent"));
  return execFileSync("sh", ["-c", `${lines}\nprintf %s "$${name}"`], { encoding: "utf8" });
}

describe("the installer", () => {
  test("is told where it came from, what there is and by whom it is vouched for", () => {
    const filled = fillInstaller(script, facts);
    expect(variable(filled, "served_http")).toBe("https://farm.example.org:7080");
    expect(variable(filled, "served_coordinator")).toBe("farm.example.org:7070");
    expect(variable(filled, "served_ca")).toBe(facts.caPem?.trim());
    expect(variable(filled, "served_programs")).toBe("linux-x64 millrace-1.0.0-linux-x64 ab 1.0.0");
    expect(variable(filled, "served_advice")).toBe(facts.advice);
  });

  test("keeps text what is text, whatever it is", () => {
    const text = fc.string({ unit: "binary" }).filter((one) => !one.includes("\0") && one.isWellFormed());
    fc.assert(
      fc.property(text, (advice) => {
        expect(variable(fillInstaller(script, { ...facts, advice }), "served_advice")).toBe(advice);
      }),
      { numRuns: 10 }, // each starts a shell
    );
  });

  test("that has lost its place for facts is not served", () => {
    expect(() => fillInstaller("#!/bin/sh\n", facts)).toThrow("lost the lines");
  });
});

describe("a Host header", () => {
  test.each([
    ["farm.example.org", { name: "farm.example.org", port: 80 }],
    ["farm.example.org:7080", { name: "farm.example.org", port: 7080 }],
    ["10.0.0.1:1", { name: "10.0.0.1", port: 1 }],
    ["[::1]:7080", { name: "[::1]", port: 7080 }],
  ])("%s is a host", (header, host) => {
    expect(parseHost(header, 80)).toEqual(host);
  });

  test.each([
    undefined,
    "",
    ":80",
    "a b",
    "a;id",
    "a$(id):1",
    "a'b",
    "a\nb",
    "a.example:0",
    "a.example:65536",
    "a.example:1:2",
    "-rf",
    "::1",
    "[::1",
    "a/../b",
    "a@b",
    `${"a".repeat(300)}`,
  ])("%j is none", (header) => {
    expect(parseHost(header, 80)).toBeUndefined();
  });

  test("that passes holds nothing that means anything to a shell or a URL", () => {
    fc.assert(
      fc.property(fc.string(), (header) => {
        const host = parseHost(header, 80);
        if (host !== undefined) expect(host.name).toMatch(/^[A-Za-z0-9.:[\]-]+$/);
      }),
    );
  });
});

describe("the address that others are told", () => {
  const options = {
    ...{ advertise: undefined, host: "0.0.0.0", port: 7080, tls: undefined, hostname: "box" },
    interfaces: {
      lo: [{ address: "127.0.0.1", family: "IPv4" as const, internal: true, netmask: "", mac: "", cidr: null }],
      eth0: [{ address: "10.1.2.3", family: "IPv4" as const, internal: false, netmask: "", mac: "", cidr: null }],
    },
  };
  const tls = { pin: "sha256//AAA=", authority: {} };

  test.each([
    ["what was advertised", { advertise: "farm.example.org" }, "http://farm.example.org:7080/install.sh"],
    ["what is listened on", { host: "10.9.9.9" }, "http://10.9.9.9:7080/install.sh"],
    ["one of the machine's, when all are", {}, "http://10.1.2.3:7080/install.sh"],
    ["the machine's name, without a network", { interfaces: {} }, "http://box:7080/install.sh"],
    ["in brackets for IPv6", { host: "fd00::1" }, "http://[fd00::1]:7080/install.sh"],
  ])("is %s", (_, given, url) => {
    expect(installerAddress({ ...options, ...given })).toEqual({ url, keyPin: undefined });
  });

  test("has a pin only where the farm vouches for itself", () => {
    expect(installerAddress({ ...options, tls })).toEqual({
      url: "https://10.1.2.3:7080/install.sh",
      keyPin: "sha256//AAA=",
    });
    expect(installerAddress({ ...options, tls: { ...tls, authority: undefined } }).keyPin).toBeUndefined();
  });
});
