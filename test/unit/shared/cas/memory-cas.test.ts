import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { casConformance } from "../../../conformance/cas.ts";

casConformance("memory", async () => memoryCas());
