import type { MessageInitShape } from "@bufbuild/protobuf";
import type { EventSchema } from "../../proto/gen/millrace/v1/event_pb.ts";

/** What an event says, as it is written down where one is made: its case and its value. */
export type EventKind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;
