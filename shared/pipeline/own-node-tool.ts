/** What an agent calls the Node that it runs on itself, among its tools. */
export const ownNodeTool = "millrace-node";

/** Says to a process that asks for that tool where it is; no part of the key, which has the tool's fingerprint. */
export const ownNodeVariable = "MILLRACE_NODE";
