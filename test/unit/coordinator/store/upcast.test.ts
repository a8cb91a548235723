import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, type DescField, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { eventVersion, upcast } from "../../../../coordinator/store/upcast.ts";
import { CommitSchema, type Event, EventSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { sampleJson } from "../../../support/sample-json.ts";

/** An event as somebody once wrote it, and what it means in the form that was the newest then. */
interface Written {
  readonly kind: string;
  readonly version: number;
  /** The very bytes, as base64. They are never changed: logs like this exist. */
  readonly bytes: string;
  readonly json: JsonValue;
}

const written: readonly Written[] = JSON.parse(
  readFileSync(join(import.meta.dirname, "written-events.json"), "utf8"),
) as Written[];
const kinds = EventSchema.fields.filter(({ oneof }) => oneof?.name === "kind");

function lifted(event: Event): Event {
  const [first] = upcast(create(CommitSchema, { events: [event] })).events;
  if (first === undefined) throw new Error("the event is gone");
  return first;
}

/** The entry of a kind in the newest form. */
function entryOf(kind: DescField): Written {
  const json = sampleJson(EventSchema, kind) as { version: number };
  json.version = eventVersion;
  const bytes = Buffer.from(toBinary(EventSchema, fromJson(EventSchema, json))).toString("base64");
  return { kind: kind.localName, version: eventVersion, bytes, json };
}

test("every event that was ever written is read as what it meant", () => {
  for (const { kind, bytes, json } of written) {
    const event = lifted(fromBinary(EventSchema, Buffer.from(bytes, "base64")));
    expect(event.kind.case).toBe(kind);
    const meant = { ...(json as object), version: eventVersion };
    expect(toJson(EventSchema, event), kind).toMatchObject(meant);
  }
});

test("each kind of event has an entry in the newest form", () => {
  const known = new Set(written.filter(({ version }) => version === eventVersion).map(({ kind }) => kind));
  const missing = kinds.filter(({ localName }) => !known.has(localName)).map(entryOf);
  // Add these to written-events.json; entries of older forms stay.
  expect(missing.map((entry) => JSON.stringify(entry))).toEqual([]);
});

test("what has the newest form already, and what a newer version wrote, stays as it is", () => {
  for (const version of [eventVersion, eventVersion + 1]) {
    for (const kind of kinds) {
      const json = { ...(sampleJson(EventSchema, kind) as object), version };
      const event = fromJson(EventSchema, json);
      expect(toJson(EventSchema, lifted(fromJson(EventSchema, json)))).toEqual(toJson(EventSchema, event));
    }
  }
});

test("a task of a log from before tries has had one", () => {
  const event = create(EventSchema, { kind: { case: "taskStarted", value: { task: "s/t", attempt: 2 } } });
  expect(lifted(event)).toMatchObject({ version: eventVersion, kind: { value: { try: 1, attempt: 2 } } });
});
