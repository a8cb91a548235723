// The program inside the one self-contained executable; bin/single-file.ts runs it.
import { runMillrace } from "./commands.ts";

void runMillrace(); // never rejects
