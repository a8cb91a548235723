/** What an agent says of itself, in AgentInfo.features, that can import git commits. */
export const importFeature = "import:git";

/** The platform property, with the value `true`, of an import. No label can be called so, since it has a colon. */
export const importProperty = importFeature;
