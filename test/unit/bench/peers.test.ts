import { expect, onTestFinished, test, vi } from "vitest";
import { orBroken } from "../../../bench/peers/peers.ts";

function standardError(): string[] {
  const said: string[] = [];
  const spy = vi.spyOn(process.stderr, "write").mockImplementation((text) => said.push(String(text)) > 0);
  onTestFinished(() => spy.mockRestore());
  return said;
}

test("a peer that works gives its figures", async () => {
  const said = standardError();
  const figure = { name: "peer: xargs", unit: "tasks/s", samples: [1, 2], target: "" };
  expect(await orBroken("peer: xargs", async () => [figure])).toEqual([figure]);
  expect(said).toEqual([]);
});

test("a peer that breaks is one line without samples, and its failure is said, not thrown", async () => {
  const said = standardError();
  const broken = await orBroken("peer: nx", () => Promise.reject(new Error("nx ended with 1: no daemon")));
  expect(broken).toEqual([{ name: "peer: nx", unit: "", samples: [], target: "", note: "broke in this run" }]);
  expect(said.join("")).toBe("peer: nx BROKE: nx ended with 1: no daemon\n");
});
