import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

/** Where what the command line may forget is kept for this user, by the XDG base directory specification. */
export function cacheFolder(env: Readonly<Record<string, string | undefined>>): string {
  const cache = env.XDG_CACHE_HOME;
  // By the specification a relative path counts as none.
  const root = cache !== undefined && isAbsolute(cache) ? cache : join(homedir(), ".cache");
  return join(root, "millrace");
}
