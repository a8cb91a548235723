import { expect, it } from "vitest";
import { demandOf } from "../../../../../coordinator/farm/pools/demand.ts";

const line = (labels: Record<string, string>, count: number) => ({
  properties: Object.entries(labels).map(([name, value]) => ({ name, value })),
  count,
});
const offer = (name: string, labels: Record<string, string>) => ({ name, labels: { ...labels, pool: name } });

it("counts what waits for the first pool by name that could run it, and for no other", () => {
  const offers = [
    offer("small", { os: "linux" }),
    offer("big", { os: "linux", gpu: "yes" }),
    offer("mac", { os: "mac" }),
  ];
  const lines = [line({}, 1), line({ os: "linux" }, 10), line({ pool: "small" }, 100), line({ os: "mac" }, 1_000)];
  expect(demandOf(lines, offers)).toEqual(
    new Map([
      ["big", 11],
      ["small", 100],
      ["mac", 1_000],
    ]),
  );
});

it("counts for no pool what none could run: it waits for an agent that a person brings", () => {
  expect(demandOf([line({ os: "plan9" }, 5), line({ agent: "host-1" }, 1)], [offer("mac", { os: "mac" })])).toEqual(
    new Map(),
  );
});
