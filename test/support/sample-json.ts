import { type DescField, type DescMessage, type JsonObject, type JsonValue, ScalarType } from "@bufbuild/protobuf";

/** Messages within messages that are filled; what is deeper stays empty. */
const depthMax = 4;

/**
 * A message as JSON with something in every field, and always the same. Of each oneof it has the last member, unless
 * `chosen` names another field of this message.
 */
export function sampleJson({ typeName, fields, oneofs }: DescMessage, chosen?: DescField, depth = 0): JsonValue {
  if (typeName === "google.protobuf.Timestamp") return "2026-11-30T05:00:00Z";
  if (typeName === "google.protobuf.Duration") return "90s";
  const sample: JsonObject = {};
  if (depth >= depthMax) return sample;
  const isLeftOut = (field: DescField) => {
    const oneof = oneofs.find((each) => each.fields.includes(field));
    return oneof !== undefined && field !== (chosen?.oneof === oneof ? chosen : oneof.fields.at(-1));
  };
  for (const field of fields) if (!isLeftOut(field)) sample[field.jsonName] = valueOf(field, depth);
  return sample;
}

function valueOf(field: DescField, depth: number): JsonValue {
  switch (field.fieldKind) {
    case "scalar":
      return scalar(field.scalar, field);
    case "enum":
      return field.enum.values.at(-1)?.name ?? 0;
    case "message":
      // A wrapper is, as JSON, what is wrapped.
      if (field.message.typeName === "google.protobuf.Int32Value") return field.number;
      return sampleJson(field.message, undefined, depth + 1);
    case "list": {
      if (field.listKind === "message") return [sampleJson(field.message, undefined, depth + 1)];
      return [field.listKind === "enum" ? (field.enum.values.at(-1)?.name ?? 0) : scalar(field.scalar, field)];
    }
    case "map":
      return { key: field.name };
  }
}

function scalar(type: ScalarType, { name, number }: DescField): JsonValue {
  if (type === ScalarType.STRING) return name;
  if (type === ScalarType.BYTES) return Buffer.from(name).toString("base64");
  if (type === ScalarType.INT64 || type === ScalarType.UINT64) return String(number);
  return type === ScalarType.BOOL ? true : number;
}
