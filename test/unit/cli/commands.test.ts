import { readdirSync } from "node:fs";
import { Command } from "commander";
import { describe, expect, it } from "vitest";

const folder = new URL("../../../cli/commands/", import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith(".ts"));

describe("the commands of the command line", () => {
  it.each(files)("%s is made without two options of one name, and has help", async (file) => {
    const exported: Record<string, unknown> = await import(new URL(file, folder).href);
    const factories = Object.entries(exported).filter(([name]) => name.endsWith("Command"));
    expect(factories).not.toEqual([]);
    for (const [name, make] of factories) {
      if (typeof make !== "function") throw new Error(`${name} makes no command`);
      const command: unknown = make({});
      if (!(command instanceof Command)) throw new Error(`${name} makes no command`);
      expect(command.helpInformation()).toContain("--help");
    }
  });
});
