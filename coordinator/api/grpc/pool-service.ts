import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs, durationMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Pool,
  PoolSchema,
  type PoolService,
  PoolSettingsSchema,
  type PoolSettings as SettingsMessage,
} from "../../../proto/gen/millrace/v1/pool_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import type { Principal } from "../../delivery/access/principal.ts";
import type { PoolNow, PoolSettings, Pools, PoolTrouble, ProviderSettings } from "../../farm/pools/pools.ts";
import { principalOf } from "../guard.ts";

type PoolSettingsInit = Exclude<MessageInitShape<typeof PoolSettingsSchema>, SettingsMessage>;

/** PoolService: pools, their bounds and how they stand. */
export function poolService(pools: Pools): ServiceImpl<typeof PoolService> {
  return {
    listPools: (_request, context) => ({ pools: pools.list().map(shownTo(principalOf(context))) }),

    getPool({ name }, context) {
      const pool = pools.list().find(({ settings }) => settings.name === name);
      if (pool === undefined)
        throw new MillraceError("not_found", `there is no pool "${name}"; see \`millrace pools\``);
      return { pool: shownTo(principalOf(context))(pool) };
    },

    async setPool({ settings }) {
      if (settings === undefined) throw new MillraceError("invalid_argument", "a pool needs settings: none were sent");
      return { pool: poolMessage(await pools.set(settingsOf(settings))) };
    },

    async scalePool({ name, min, max }) {
      return { pool: poolMessage(await pools.scale(name, { min, max })) };
    },

    async removePool({ name }) {
      await pools.remove(name);
      return {};
    },
  };
}

/** Whoever is bound to projects sees names, labels and load; how agents are started, and what is in the way, is the farm's. */
function shownTo({ projects }: Pick<Principal, "projects">): (pool: PoolNow) => Pool {
  if (projects === undefined) return poolMessage;
  return ({ settings, trouble, ...pool }) => {
    const { provider } = settings;
    const shown: ProviderSettings = provider.kind === "exec" ? { ...provider, command: [] } : provider;
    const said =
      trouble === undefined ? undefined : { ...trouble, message: "an operator of the farm sees what is wrong" };
    return poolMessage({ ...pool, settings: { ...settings, provider: shown }, trouble: said });
  };
}

function settingsOf(message: SettingsMessage): PoolSettings {
  const { name, min, max, ephemeral, slots, labels, targetWait, idleTimeout, joinTimeout } = message;
  return {
    ...{ name, min, max, ephemeral, labels: { ...labels }, provider: providerOf(message) },
    slots: slots === 0 ? 1 : slots,
    targetWaitMs: targetWait === undefined ? poolLimits.targetWaitMs : durationMs(targetWait),
    idleTimeoutMs: idleTimeout === undefined ? poolLimits.idleTimeoutMs : durationMs(idleTimeout),
    joinTimeoutMs: joinTimeout === undefined ? poolLimits.joinTimeoutMs : durationMs(joinTimeout),
  };
}

function providerOf({ name, provider }: SettingsMessage): ProviderSettings {
  switch (provider.case) {
    case "static":
      return { kind: "static" };
    case "localProcess":
      return { kind: "local-process" };
    case "exec":
      return { kind: "exec", command: [...provider.value.command] };
    case undefined:
      throw new MillraceError(
        "invalid_argument",
        `pool "${name}": it needs a provider: static, local-process or exec; this coordinator knows no others`,
      );
    default:
      return provider satisfies never;
  }
}

function poolMessage({ settings, isRemoving, taskTimeMs, trouble, ...counts }: PoolNow): Pool {
  return create(PoolSchema, {
    ...counts,
    settings: settingsMessage(settings),
    removing: isRemoving,
    ...(taskTimeMs === undefined ? {} : { taskTime: durationFromMs(Math.round(taskTimeMs)) }),
    ...(trouble === undefined ? {} : { trouble: troubleMessage(trouble) }),
  });
}

function settingsMessage({ name, min, max, ephemeral, slots, labels, ...settings }: PoolSettings) {
  return create(PoolSettingsSchema, {
    ...{ name, min, max, ephemeral, slots, labels: { ...labels } },
    targetWait: durationFromMs(settings.targetWaitMs),
    idleTimeout: durationFromMs(settings.idleTimeoutMs),
    joinTimeout: durationFromMs(settings.joinTimeoutMs),
    provider: providerMessage(settings.provider) ?? { case: undefined },
  });
}

function providerMessage(provider: ProviderSettings): PoolSettingsInit["provider"] {
  switch (provider.kind) {
    case "static":
      return { case: "static", value: {} };
    case "local-process":
      return { case: "localProcess", value: {} };
    case "exec":
      return { case: "exec", value: { command: [...provider.command] } };
    default:
      return provider satisfies never;
  }
}

function troubleMessage({ message, timeMs, failures, retryMs }: PoolTrouble) {
  return { message, failures, time: timestampFromMs(timeMs), retryTime: timestampFromMs(retryMs) };
}
