/**
 * What an agent says of itself, in AgentInfo.features, that can import git commits, and the platform property of an import,
 * with the value `true`. No label can be called so, since it has a colon.
 */
export const importProperty = "import:git";

/** Under which name an import finds the secret that opens its repository. */
export const repositoryCredentials = "MILLRACE_REPOSITORY_CREDENTIALS";
