import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readAgentConfig } from "../../../agent/config.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("an agent's settings", () => {
  test("have defaults for all but the coordinator", () => {
    const config = readAgentConfig({ flags: { coordinator: "h:7070" }, env: {} });
    expect(config).toMatchObject({ coordinator: "h:7070", labels: { pool: "default" }, token: undefined });
    expect(config.slots).toBeGreaterThan(0);
    expect(config.data.startsWith("/")).toBe(true);
  });

  test("are all checked at once", () => {
    const flags = { coordinator: "nowhere", slots: "none", label: ["no-value"], storeBytes: "much", spoolBytes: "1" };
    expect(() => readAgentConfig({ flags, env: {} })).toThrow(
      /--coordinator[^]*--slots[^]*--label[^]*--store-bytes[^]*--spool-bytes.*below 1048576/,
    );
  });

  test("take the token from the environment, or from a file without its newline", () => {
    const file = join(tempDir(), "token");
    writeFileSync(file, "from-file\n");
    const flags = { coordinator: "h:1" };
    expect(readAgentConfig({ flags, env: { MILLRACE_TOKEN: "from-env" } }).token).toBe("from-env");
    expect(readAgentConfig({ flags: { ...flags, tokenFile: file }, env: {} }).token).toBe("from-file");
    expect(() => readAgentConfig({ flags: { ...flags, tokenFile: "/nowhere" }, env: {} })).toThrow(
      /--token-file \/nowhere/,
    );
  });

  test("labels keep what stands behind the first equals sign", () => {
    const config = readAgentConfig({ flags: { coordinator: "h:1", label: ["a=b=c"], pool: "linux" }, env: {} });
    expect(config.labels).toEqual({ a: "b=c", pool: "linux" });
  });

  test("give an ephemeral agent one slot, and refuse it more", () => {
    const flags = { coordinator: "h:1" };
    expect(readAgentConfig({ flags, env: { MILLRACE_EPHEMERAL: "true" } })).toMatchObject({
      ephemeral: true,
      slots: 1,
    });
    expect(readAgentConfig({ flags, env: {} }).ephemeral).toBe(false);
    expect(() => readAgentConfig({ flags: { ...flags, ephemeral: true, slots: "2" }, env: {} })).toThrow(
      "--slots 2: an ephemeral agent runs one task, in one slot",
    );
  });

  test("are refused inside of too many farms", () => {
    const flags = { coordinator: "h:1" };
    expect(readAgentConfig({ flags, env: { MILLRACE_NESTING: "1" } }).nesting).toBe(1);
    expect(() => readAgentConfig({ flags, env: { MILLRACE_NESTING: "2" } })).toThrow(/inside of 2 others/);
  });
});
