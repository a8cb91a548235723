import { enableCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

// bin/millrace has it on already; this is for whoever starts this file itself.
// Not where Node would put it, in the folder for temporary files: whoever else writes there could give us code to run.
enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "millrace", "node"));

// Everything else is imported after the cache is on.
await (await import("./commands.ts")).runMillrace();
