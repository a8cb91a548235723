/**
 * A bounded number of open things by name. A thing in use stays open; of the idle ones the least recently used makes
 * room; when all are in use, callers wait.
 */
export interface HandlePool<T> {
  /** Opens the thing when it is not, and keeps it open until `work` has ended. Callers of one name share one thing. */
  use<R>(name: string, work: (thing: T) => Promise<R>): Promise<R>;
  /** Closes the things with these names, each as soon as nobody uses it; who asks for one from then on opens it anew. */
  drop(isMeant: (name: string) => boolean): Promise<void>;
  /** Waits for those in use, then closes all. Nothing may be used afterwards. */
  close(): Promise<void>;
}

export interface HandlePoolOptions<T> {
  readonly max: number;
  open(name: string): Promise<T>;
  close(thing: T): Promise<void>;
}

interface Slot<T> {
  readonly thing: Promise<T>;
  users: number;
}

export function handlePool<T>({ max, open, close }: HandlePoolOptions<T>): HandlePool<T> {
  const slots = new Map<string, Slot<T>>();
  /** Those without users, least recently used first. */
  const idle = new Map<string, Slot<T>>();
  /** Including those that are being closed. */
  let opened = 0;
  /** Callers for whom there was no room, first come first. Each thing that becomes idle, or is closed, wakes one. */
  const waiting: (() => void)[] = [];

  /** No longer found by name, and closed by the last user. */
  const dropped = new Set<Slot<T>>();

  const wakeOne = () => waiting.shift()?.();

  async function makeRoom(): Promise<void> {
    const [oldest] = idle;
    if (oldest === undefined) return new Promise((resolve) => waiting.push(resolve));
    const [name, slot] = oldest;
    idle.delete(name);
    slots.delete(name);
    await closeSlot(slot);
  }

  async function closeSlot({ thing }: Slot<T>): Promise<void> {
    try {
      await close(await thing);
    } finally {
      opened -= 1;
      wakeOne();
    }
  }

  async function enter(name: string): Promise<Slot<T>> {
    for (;;) {
      let slot = slots.get(name);
      if (slot === undefined && opened < max) {
        opened += 1;
        slot = { thing: open(name), users: 0 };
        slots.set(name, slot);
      }
      if (slot !== undefined) {
        slot.users += 1;
        idle.delete(name);
        return slot;
      }
      await makeRoom();
    }
  }

  async function leave(name: string, slot: Slot<T>): Promise<void> {
    slot.users -= 1;
    if (slot.users > 0) return;
    if (dropped.delete(slot)) return await closeSlot(slot);
    if (slots.get(name) === slot) idle.set(name, slot);
    wakeOne();
  }

  function forget(name: string, slot: Slot<T>): void {
    if (slots.get(name) !== slot) return; // another user of the same failure was first, or it was dropped
    slots.delete(name);
    opened -= 1;
  }

  return {
    async use(name, work) {
      const slot = await enter(name);
      try {
        const thing = await slot.thing.catch((error: unknown) => {
          forget(name, slot);
          throw error;
        });
        return await work(thing);
      } finally {
        await leave(name, slot);
      }
    },
    async drop(isMeant) {
      const closing: Promise<void>[] = [];
      for (const [name, slot] of slots) {
        if (!isMeant(name)) continue;
        slots.delete(name);
        idle.delete(name);
        if (slot.users > 0) dropped.add(slot);
        else closing.push(closeSlot(slot));
      }
      await Promise.all(closing);
    },
    async close() {
      while (opened > 0) await makeRoom();
    },
  };
}
