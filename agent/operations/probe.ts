import { get, STATUS_CODES } from "node:http";
import type { Clock } from "../../shared/clock.ts";
import { limits } from "../../shared/limits.ts";
import { delay } from "../retry.ts";

/** What a probe was told. */
export interface ProbeAnswer {
  readonly healthy: boolean;
  /** For a person: `200 OK`, `connect ECONNREFUSED …`. */
  readonly text: string;
}

/** Asks once. Never throws: no answer is an answer. */
export function askOnce(url: string, signal: AbortSignal): Promise<ProbeAnswer> {
  const { promise, resolve } = Promise.withResolvers<ProbeAnswer>();
  const noAnswer = (error: Error) => resolve({ healthy: false, text: error.message });
  const within = AbortSignal.any([signal, AbortSignal.timeout(limits.probeAnswerMs)]);
  const request = get(url, { signal: within, agent: false }, (response) => {
    const { statusCode = 0 } = response;
    let body = "";
    response.setEncoding("utf8");
    response.on("data", (text: string) => {
      body = (body + text).slice(0, limits.probeAnswerBytes);
    });
    response.on("error", noAnswer);
    response.on("end", () => {
      const healthy = statusCode >= 200 && statusCode < 300;
      const said = healthy || body.trim() === "" ? "" : `: ${body.trim().replaceAll(/\s+/g, " ")}`;
      resolve({ healthy, text: `${statusCode} ${STATUS_CODES[statusCode] ?? ""}`.trim() + said });
    });
  });
  request.on("error", noAnswer);
  return promise;
}

export interface ProbeOptions {
  readonly url: string;
  readonly timeoutMs: number;
  readonly clock: Clock;
  /** Says which process runs now; undefined while none does. */
  readonly processNow: () => string | undefined;
  /** Told of each answer that differs from the one before. */
  readonly onAnswer: (text: string) => void;
}

/**
 * Asks until the app is healthy: good answers in a row while one and the same process runs, for a single one may have come
 * from a stranger on the same port. Resolves with the last answer when the time is over.
 */
export async function askUntilHealthy(options: ProbeOptions, signal: AbortSignal): Promise<ProbeAnswer> {
  const { url, timeoutMs, clock, processNow, onAnswer } = options;
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  let confirmations = 0;
  let answeredBy: string | undefined;
  let said = "";
  for (;;) {
    const before = processNow();
    const answer = await askOnce(url, signal);
    if (answer.text !== said) onAnswer(answer.text);
    said = answer.text;
    const isGood = answer.healthy && before !== undefined && processNow() === before;
    confirmations = isGood ? (before === answeredBy ? confirmations + 1 : 1) : 0;
    answeredBy = before;
    if (confirmations >= limits.probeConfirmations) return answer;
    if (signal.aborted || clock.monotonicMs() >= deadlineMs) {
      const text = answer.healthy ? `${answer.text}, but not by a process of this release` : answer.text;
      return { healthy: false, text };
    }
    await delay(clock, limits.probeIntervalMs, signal);
  }
}
