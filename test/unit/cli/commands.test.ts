import { expect, test } from "vitest";
import { entries } from "../../../bin/commands.ts";

test.each(entries.map(({ name, load }) => [name, load] as const))(
  "%s is made without two options of one name, and has help",
  async (name, load) => {
    const command = await load();
    expect(command.name()).toBe(name);
    expect(command.helpInformation()).toContain("--help");
  },
);
