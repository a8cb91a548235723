import { test } from "vitest";
import { execFileSync } from "node:child_process";
import { fakeFarm, startAgent } from "./farm.ts";
test("bench", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { slots: 4 });
  const one = async (i: number, inputs: Record<string,string>) => {
    for (;;) { const r = await farm.assign(agent.id, `e${i}`, { command: ["true"], inputs, inline: true, environment: { I: String(i) } }); if (r.accepted) break; await new Promise(r => setTimeout(r, 2)); }
    return farm.report(`e${i}`);
  };
  for (const inputs of [{}, Object.fromEntries(Array.from({length: 200}, (_, i) => [`d${i%10}/f${i}`, `content ${i}`]))]) {
    const lat: number[] = [];
    for (let i = 0; i < 30; i++) { const t = performance.now(); const rep = await one(i + Object.keys(inputs).length * 1000, inputs); lat.push(performance.now() - t);
      if (i === 29) { const m = rep.result!.executionMetadata!; const f = (x: any) => Number(x.seconds) * 1000 + x.nanos / 1e6; const w = f(m.workerStartTimestamp); console.log(Object.entries(m).filter(([k]) => k.endsWith("Timestamp") && (m as any)[k]).map(([k, v]) => `${k}:${f(v) - w}`).join(" ")); } }
    lat.sort((a, b) => a - b); console.log("sequential p50", lat[15], "p95", lat[28]);
    const t = performance.now(); let next = 0; const n = 300;
    await Promise.all([1,2,3,4].map(async () => { while (next < n) { const i = ++next; await one(100000 + i + Object.keys(inputs).length * 1000, inputs); } }));
    console.log("throughput", n / ((performance.now() - t) / 1000), "/s");
  }
  console.log(execFileSync("sh", ["-c", `for p in $(pgrep -f runner-process) ${agent.child.pid}; do echo $p $(grep -E 'VmRSS|Pss' /proc/$p/status) $(grep ^Pss: /proc/$p/smaps_rollup); done`]).toString());
  console.log(agent.complaints());
}, 120000);
