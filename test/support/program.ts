import { resolve } from "node:path";

/** The `millrace` that tests and benches start: what is shipped, as build-program.ts made it; else the checkout's own. */
export const millrace: string = process.env.MILLRACE_TEST_PROGRAM ?? resolve(import.meta.dirname, "../../bin/millrace");
