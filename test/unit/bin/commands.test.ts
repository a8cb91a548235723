import { expect, test } from "vitest";
import { entries } from "../../../bin/commands.ts";

test.each(entries)("the command $name is made, without two options of one name, and has help", async ({ load }) => {
  expect((await load()).helpInformation()).toContain("--help");
});
