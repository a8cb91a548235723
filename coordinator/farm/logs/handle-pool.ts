/**
 * A bounded number of open things by name. A thing in use stays open; of the idle ones the least recently used makes
 * room; when all are in use, callers wait.
 */
export interface HandlePool<T> {
  /** Opens the thing when it is not, and keeps it open until `work` has ended. Callers of one name share one thing. */
  use<R>(name: string, work: (thing: T) => Promise<R>): Promise<R>;
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

  const wakeOne = () => waiting.shift()?.();

  async function makeRoom(): Promise<void> {
    const [oldest] = idle;
    if (oldest === undefined) return new Promise((resolve) => waiting.push(resolve));
    const [name, slot] = oldest;
    idle.delete(name);
    slots.delete(name);
    try {
      await close(await slot.thing);
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

  function leave(name: string, slot: Slot<T>): void {
    slot.users -= 1;
    if (slot.users > 0) return;
    if (slots.get(name) === slot) idle.set(name, slot);
    wakeOne();
  }

  function forget(name: string, slot: Slot<T>): void {
    if (slots.get(name) !== slot) return; // another user of the same failure was first
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
        leave(name, slot);
      }
    },
    async close() {
      while (opened > 0) await makeRoom();
    },
  };
}
