import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { unsentSecrets } from "../../../agent/secrets/unsent-secrets.ts";
import { tempDir } from "../../support/temp-dir.ts";

const spool = "exe_1.1";
const envelopesIn = (folder: string) => ({ folder, secretsOf: async () => [], forget: async () => {} });

test("output of a task that has removed what it named is of secrets that nobody knows", async () => {
  const maskFiles = join(tempDir(), "masks");
  mkdirSync(maskFiles);
  writeFileSync(join(maskFiles, "exe_2.1"), "token-0123456789\n");
  const unsent = unsentSecrets({ envelopes: envelopesIn(tempDir()), maskFiles });
  await unsent.keepOnly([spool, "exe_2.1"]);
  await expect(unsent.maskingOf(spool)).rejects.toMatchObject({ code: "data_loss" });
  expect((await unsent.maskingOf("exe_2.1")).now().text("token-0123456789")).toBe("*".repeat(16));
});

test("what an agent left that knew of no such files has named nothing", async () => {
  const unsent = unsentSecrets({ envelopes: envelopesIn(tempDir()), maskFiles: join(tempDir(), "masks") });
  await unsent.keepOnly([spool]);
  expect((await unsent.maskingOf(spool)).now().isEmpty).toBe(true);
});
