import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { resolveCredentials, userCredentialsFile, withFarm } from "../../../cli/credentials.ts";
import { limits } from "../../../shared/limits.ts";
import { tempDir } from "../../support/temp-dir.ts";

function store(file: string, value: unknown): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, typeof value === "string" ? value : JSON.stringify(value));
}

describe("credentials", () => {
  const stored = { address: "127.0.0.1:7070", http: "http://127.0.0.1:7080", token: "from-file" };

  it("come from flags before the environment", () => {
    const env = { MILLRACE_ADDRESS: "env:1", MILLRACE_TOKEN: "from-env", XDG_CONFIG_HOME: tempDir() };
    expect(resolveCredentials({ address: "flag:1", token: "from-flag", env })).toEqual({
      address: "flag:1",
      token: "from-flag",
    });
    expect(resolveCredentials({ env })).toEqual({ address: "env:1", token: "from-env" });
  });

  it("are refused for an address that is none, whatever the token", () => {
    const env = { XDG_CONFIG_HOME: tempDir() };
    for (const address of ["nonsense", "http://127.0.0.1:7080", "farm:99999"]) {
      expect(() => resolveCredentials({ address, env })).toThrow(
        /is not host:port: give the coordinator's gRPC address/,
      );
    }
  });

  it("come from the data folder before the user's configuration", () => {
    const data = tempDir();
    const config = tempDir();
    store(join(config, "millrace", "credentials.json"), { ...stored, token: "of-user" });
    expect(resolveCredentials({ env: { XDG_CONFIG_HOME: config } }).token).toBe("of-user");
    store(join(data, "credentials.json"), { ...stored, token: "of-data" });
    expect(resolveCredentials({ env: { XDG_CONFIG_HOME: config, MILLRACE_DATA: data } }).token).toBe("of-data");
  });

  it("never send a stored token to another address than its own", () => {
    const config = tempDir();
    store(join(config, "millrace", "credentials.json"), stored);
    const env = { XDG_CONFIG_HOME: config };
    expect(resolveCredentials({ address: stored.address, env })).toEqual({
      address: stored.address,
      token: stored.token,
    });
    expect(() => resolveCredentials({ address: "elsewhere:7070", env })).toThrow(
      /no token is known for elsewhere:7070/,
    );
  });

  it("of farms that were started before stay known by their addresses, up to a bound", () => {
    const env = { XDG_CONFIG_HOME: tempDir() };
    const file = userCredentialsFile(env);
    const farm = (port: number, token = `of-${port}`) => ({ address: `h:${port}`, http: "", token });
    store(file, farm(1)); // as it was written before there were several
    for (const port of [2, 3, 1, 2]) store(file, withFarm(file, farm(port)));
    expect(resolveCredentials({ env })).toEqual({ address: "h:2", token: "of-2" });
    for (const port of [1, 2, 3]) expect(resolveCredentials({ address: `h:${port}`, env }).token).toBe(`of-${port}`);
    store(file, withFarm(file, farm(3, "renewed")));
    expect(resolveCredentials({ env }).token).toBe("renewed");
    for (let port = 10; port < 10 + limits.storedFarms; port += 1) store(file, withFarm(file, farm(port)));
    expect(() => resolveCredentials({ address: "h:1", env })).toThrow(/no token is known/);
    expect(resolveCredentials({ address: "h:10", env }).token).toBe("of-10");
  });

  it("that are broken are replaced when a farm starts", () => {
    const env = { XDG_CONFIG_HOME: tempDir() };
    const file = userCredentialsFile(env);
    store(file, "{");
    store(file, withFarm(file, stored));
    expect(resolveCredentials({ env }).token).toBe("from-file");
  });

  it("say who vouches for a farm with a certificate of its operator's: flag, environment, then what was stored", () => {
    const env = { XDG_CONFIG_HOME: tempDir(), MILLRACE_TLS_CA: "" };
    store(userCredentialsFile(env), { ...stored, tlsCa: "system" });
    expect(resolveCredentials({ env }).tlsCa).toBe("system");
    expect(resolveCredentials({ env: { ...env, MILLRACE_TLS_CA: "/ca.pem" } }).tlsCa).toBe("/ca.pem");
    expect(resolveCredentials({ env, address: "h:1", token: "t", tlsCa: "/flag.pem" }).tlsCa).toBe("/flag.pem");
    expect(resolveCredentials({ env, address: "h:1", token: "t" })).not.toHaveProperty("tlsCa");
  });

  it("say what to do when there are none", () => {
    expect(() => resolveCredentials({ env: { XDG_CONFIG_HOME: tempDir() } })).toThrow(/millrace up/);
  });

  it.each(["", "{", "[]", '{"address":1,"http":"","token":""}', '{"address":"","http":"","token":"","others":1}'])(
    "say which file is broken: %j",
    (text) => {
      const config = tempDir();
      store(join(config, "millrace", "credentials.json"), text);
      expect(() => resolveCredentials({ env: { XDG_CONFIG_HOME: config } })).toThrow(join(config, "millrace"));
    },
  );
});
