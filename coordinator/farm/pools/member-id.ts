/** A name for a new member; `random` is 8 hexadecimal digits. */
export function memberId(pool: string, random: string): string {
  return `${pool}-${random}`;
}

/** Whether the farm has made this name for a member of the pool: agents that people start have others. */
export function isMemberId(id: string, pool: string): boolean {
  return id.startsWith(`${pool}-`) && /^[0-9a-f]{8}$/.test(id.slice(pool.length + 1));
}
