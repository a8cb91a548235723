import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import type { Member, MemberState } from "./members.ts";
import type { PoolSettings } from "./pools.ts";

/** What a pool's agents have taught: kept, since a pool of none has nobody to ask. */
export interface Learned {
  /** What an execution keeps a slot busy for, on average. */
  readonly taskTimeMs?: number | undefined;
  /** From the request for an agent to its joining, on average. */
  readonly startTimeMs?: number | undefined;
  /** Of the last one that joined. */
  readonly offer?: ToolOffer | undefined;
}

/** A pool as it is kept. */
export interface StoredPool {
  readonly settings: PoolSettings;
  readonly isRemoving: boolean;
  readonly learned: Learned;
}

/** As a start of the coordinator finds it. */
export interface LoadedPool extends StoredPool {
  readonly members: readonly Member[];
}

/** Pools and their members on disk. Writes resolve when they are durable and take effect in the order of the calls. */
export interface PoolTable {
  load(): Promise<readonly LoadedPool[]>;
  putPool(pool: StoredPool): Promise<void>;
  /** With its members. */
  removePool(name: string): Promise<void>;
  /** Adds them, or changes their states. */
  putMembers(pool: string, members: readonly Member[]): Promise<void>;
  removeMembers(ids: readonly string[]): Promise<void>;
}

export const poolSchema: SchemaPart = {
  name: "pools",
  migrations: [
    `CREATE TABLE pool (
     name TEXT PRIMARY KEY,
     settings TEXT NOT NULL,
     removing INTEGER NOT NULL,
     learned TEXT NOT NULL
   ) STRICT`,
    `CREATE TABLE pool_member (
     id TEXT PRIMARY KEY,
     pool TEXT NOT NULL,
     state TEXT NOT NULL,
     asked_ms INTEGER NOT NULL
   ) STRICT`,
  ],
};

interface PoolRow {
  name: string;
  settings: string;
  removing: number;
  learned: string;
}

interface MemberRow {
  id: string;
  pool: string;
  state: MemberState;
  asked_ms: number;
}

export function sqlitePoolTable(sqlite: Sqlite): PoolTable {
  return {
    async load() {
      const pools = await sqlite.query<PoolRow>("SELECT * FROM pool ORDER BY name");
      const members = await sqlite.query<MemberRow>("SELECT * FROM pool_member ORDER BY rowid");
      return pools.map(({ name, settings, removing, learned }) => ({
        settings: JSON.parse(settings) as PoolSettings,
        isRemoving: removing === 1,
        learned: JSON.parse(learned) as Learned,
        members: members
          .filter(({ pool }) => pool === name)
          .map(({ id, state, asked_ms }) => ({ id, state, askedMs: asked_ms })),
      }));
    },
    async putPool({ settings, isRemoving, learned }) {
      const sql = `INSERT INTO pool (name, settings, removing, learned) VALUES (?, ?, ?, ?)
        ON CONFLICT (name) DO UPDATE SET settings = excluded.settings, removing = excluded.removing, learned = excluded.learned`;
      const params = [settings.name, JSON.stringify(settings), isRemoving ? 1 : 0, JSON.stringify(learned)];
      await sqlite.write([{ sql, params }]);
    },
    async removePool(name) {
      await sqlite.write([
        { sql: "DELETE FROM pool WHERE name = ?", params: [name] },
        { sql: "DELETE FROM pool_member WHERE pool = ?", params: [name] },
      ]);
    },
    async putMembers(pool, members) {
      const sql = `INSERT INTO pool_member (id, pool, state, asked_ms) VALUES (?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state`;
      await sqlite.write(members.map(({ id, state, askedMs }) => ({ sql, params: [id, pool, state, askedMs] })));
    },
    async removeMembers(ids) {
      await sqlite.write(ids.map((id) => ({ sql: "DELETE FROM pool_member WHERE id = ?", params: [id] })));
    },
  };
}
