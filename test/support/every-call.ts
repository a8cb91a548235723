import {
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  type Message,
  ScalarType,
  toJsonString,
} from "@bufbuild/protobuf";
import { type CallOptions, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { type ErrorCode, from } from "../../shared/errors.ts";
import { declaredServices } from "./services.ts";

/** What somebody calls things that are another one's: by the name of a field. */
export type Guesses = Readonly<Record<string, string>>;

/** What came of one call. */
export interface Called {
  readonly method: DescMethod;
  readonly code: ErrorCode | "ok";
  /** All that was answered, or the error with its details, as text. */
  readonly said: string;
}

type Call = (input: unknown, options: CallOptions) => Promise<Message> | AsyncIterable<Message>;

/** Load balancers and tools ask these without end, and they know nothing of what a farm does. */
const ofTheServer = /^grpc\.(health|reflection)\./;

/** Of an answer that may have no end: enough to see whose it is. */
const streamMessagesMax = 5;

/** Every method of every declared service, but for health and reflection. */
export const calledMethods: readonly DescMethod[] = declaredServices
  .filter(({ typeName }) => !ofTheServer.test(typeName))
  .flatMap(({ methods }) => methods);

/**
 * Calls each method once, with a request in which every field, however deep, that could name a thing does. Of a stream of
 * requests one message is sent, the first of its kind.
 */
export async function everyCall(
  transport: Transport,
  guesses: Guesses,
  methods: readonly DescMethod[] = calledMethods,
): Promise<Called[]> {
  const called: Called[] = [];
  for (const method of methods) {
    const client = createClient(method.parent, transport) as unknown as Record<string, Call>;
    const call = client[method.localName];
    if (call === undefined) throw new Error(`${method.name} cannot be called`);
    const request = guessing(method.input, guesses);
    const sendsStream = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
    const leaving = new AbortController();
    try {
      const answer = call(sendsStream ? only(request) : request, { signal: leaving.signal });
      called.push({ method, code: "ok", said: await textOf(method, answer) });
    } catch (error) {
      const { code } = from(error);
      called.push({ method, code, said: describe(ConnectError.from(error)) });
    } finally {
      leaving.abort();
    }
  }
  return called;
}

async function* only(request: Message): AsyncGenerator<Message> {
  yield request;
}

async function textOf({ output }: DescMethod, answer: ReturnType<Call>): Promise<string> {
  if (!(Symbol.asyncIterator in answer)) return bytesToo(output, await answer);
  const texts: string[] = [];
  for await (const message of answer) if (texts.push(bytesToo(output, message)) === streamMessagesMax) break;
  return texts.join("\n");
}

/** In JSON bytes are base64, in which nobody finds a word. */
function bytesToo(output: DescMessage, message: Message): string {
  const raw: string[] = [];
  const visit = (value: unknown): void => {
    if (value instanceof Uint8Array) raw.push(Buffer.from(value).toString("latin1"));
    else if (typeof value === "object" && value !== null) for (const inner of Object.values(value)) visit(inner);
  };
  visit(message);
  return [toJsonString(output, message), ...raw].join("\n");
}

function describe({ message, details }: ConnectError): string {
  return [message, ...details.map((detail) => JSON.stringify(detail, (_key, value: unknown) => String(value)))].join(
    "\n",
  );
}

/** A message in which every field, however deep, has the guess of its name; of alternatives it is the first one. */
export function guessing(type: DescMessage, guesses: Guesses, depth = 0): Message {
  const fields: Record<string, unknown> = {};
  for (const member of type.members) {
    if (member.kind === "field") {
      const value = guess(member, guesses, depth);
      if (value !== undefined) fields[member.localName] = value;
      continue;
    }
    const [first] = member.fields;
    const value = first === undefined ? undefined : guess(first, guesses, depth);
    if (value !== undefined) fields[member.localName] = { case: first?.localName, value };
  }
  return create(type, fields);
}

/** Undefined where there is nothing to guess. */
function guess(field: DescField, guesses: Guesses, depth: number): unknown {
  // Times and wrapped numbers name nothing.
  if (field.fieldKind === "message" && field.message.typeName.startsWith("google.")) return undefined;
  if (field.fieldKind === "message" && depth < 4) return guessing(field.message, guesses, depth + 1);
  const word = guesses[field.localName];
  if (word === undefined || field.fieldKind === "message") return undefined;
  if (field.fieldKind === "list") return field.listKind === "scalar" ? [word] : undefined;
  return field.fieldKind === "scalar" && field.scalar === ScalarType.STRING ? word : undefined;
}
