import { Command, Option } from "commander";
import { pipelineJsonSchema } from "../../shared/pipeline/json-schema/pipeline-json-schema.ts";
import { pipelineReference } from "../../shared/pipeline/json-schema/reference.ts";
import { pipelineTypes } from "../../shared/pipeline/json-schema/typescript.ts";
import { processConsole } from "../output/console.ts";

interface SchemaOptions {
  readonly reference?: boolean;
  readonly typescript?: boolean;
}

/** `millrace schema`. */
export function schemaCommand(): Command {
  return new Command("schema")
    .description("Print the JSON Schema of pipeline files, for editors and other programs. Needs no coordinator.")
    .option("--reference", "print the same as a page for people, in Markdown")
    .addOption(
      new Option("--typescript", "print the same as the types of pipelines in TypeScript").conflicts(["reference"]),
    )
    .option("--json", "print one JSON object, which is what it does without options, too")
    .addHelpText(
      "after",
      "\nExample:\n  $ millrace schema > pipeline.schema.json\n  # at the top of millrace.yaml: # yaml-language-server: $schema=pipeline.schema.json",
    )
    .action(schema);
}

async function schema(options: SchemaOptions): Promise<void> {
  const made = pipelineJsonSchema();
  const text = options.typescript
    ? pipelineTypes(made)
    : options.reference
      ? pipelineReference(made)
      : `${JSON.stringify(made, undefined, 2)}\n`;
  await processConsole().write(text);
}
