import { type Event, TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";

/** Tasks by what they do now. */
export interface ProgressCounts {
  readonly total: number;
  readonly running: number;
  readonly waiting: number;
  readonly done: number;
  readonly failed: number;
}

/** What the command line knows of a run's tasks while it follows it: a fold over the run's events. */
export interface RunProgress {
  apply(event: Event): void;
  counts(): ProgressCounts;
  /** `stage/task` of those that run now, in file order. */
  running(): string[];
  /** `stage/task` of all, in file order; empty before the run is planned. */
  tasks(): string[];
}

export function runProgress(): RunProgress {
  const tasks = new Map<string, TaskStatus>();
  /** What a task wrote last, by the task. */
  const written = new Map<string, readonly string[]>();
  return {
    apply({ kind }) {
      switch (kind.case) {
        case "runPlanned":
          for (const task of kind.value.tasks) tasks.set(`${task.stage}/${task.name}`, TaskStatus.WAITING);
          break;
        case "tasksGenerated": {
          const { by } = kind.value;
          const names = kind.value.tasks.map(({ stage, name }) => `${stage}/${name}`);
          for (const former of written.get(by) ?? []) if (!names.includes(former)) tasks.delete(former);
          written.set(by, names);
          for (const name of names) tasks.set(name, TaskStatus.WAITING);
          break;
        }
        case "taskSubmitted":
          tasks.set(kind.value.task, TaskStatus.QUEUED);
          break;
        case "taskStarted":
          tasks.set(kind.value.task, TaskStatus.RUNNING);
          break;
        case "taskFinished":
          tasks.set(kind.value.task, kind.value.status);
          break;
        case "taskRetried":
        case "taskHeldBack":
          tasks.set(kind.value.task, TaskStatus.WAITING);
          break;
        case "tasksReopened":
          for (const task of kind.value.tasks) tasks.set(task, TaskStatus.WAITING);
          break;
        case "taskSkipped":
          tasks.set(kind.value.task, TaskStatus.SKIPPED);
          break;
        default: // The other kinds change no task's place.
      }
    },
    counts() {
      const counts = { total: tasks.size, running: 0, waiting: 0, done: 0, failed: 0 };
      for (const status of tasks.values()) {
        if (status === TaskStatus.RUNNING) counts.running += 1;
        else if (status === TaskStatus.WAITING || status === TaskStatus.QUEUED) counts.waiting += 1;
        else counts.done += 1;
        if (status === TaskStatus.FAILED) counts.failed += 1;
      }
      return counts;
    },
    running: () => [...tasks].filter(([, status]) => status === TaskStatus.RUNNING).map(([task]) => task),
    tasks: () => [...tasks.keys()],
  };
}
