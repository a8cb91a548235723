/** A text as one word of sh: nothing inside single quotes means anything. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The same for a person to read: quoted only where it has to be. */
export function readableWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : shellWord(text);
}
