import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { entries } from "../../../bin/commands.ts";

/** What `--help` prints of a command and of all that are below it, by how they are called. */
async function helpTexts(): Promise<[name: string, text: string][]> {
  const commands = await Promise.all(entries.map((entry) => entry.load()));
  const texts = (command: Command, before: string): [string, string][] => {
    const name = `${before}${command.name()}`;
    let text = "";
    command.configureOutput({ writeOut: (part) => void (text += part) }).outputHelp();
    return [[name, text], ...command.commands.flatMap((child) => texts(child, `${name} `))];
  };
  return commands.flatMap((command) => texts(command, ""));
}

describe("the help of a command", async () => {
  it.each(await helpTexts())("shows how it is called, and defaults as people write them: %s", (name, text) => {
    const examples = text.split("\n").filter((line) => /^ {2}\$ .*\bmillrace /.test(line));
    const isGroup = /^Commands:$/m.test(text);
    if (!isGroup) expect(examples.join("\n")).toMatch(new RegExp(`millrace ${name}\\b`));
    const heading = /^Examples?:$/m.exec(text)?.[0];
    if (examples.length > 0) expect(heading).toBe(examples.length === 1 ? "Example:" : "Examples:");
    expect(text).not.toMatch(/\(default: (\[\]|\{\}|undefined)\)|\(default [^:]/);
    expect(text).not.toMatch(/\n\n$/);
  });
});
