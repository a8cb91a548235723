/**
 * A variable of a Command that says which network its process has, for the agent: `none` takes it away where the agent has a
 * sandbox. As a variable it is part of the key, and an agent that does not know it runs the Command all the same.
 */
export const networkVariable = "MILLRACE_NETWORK";
