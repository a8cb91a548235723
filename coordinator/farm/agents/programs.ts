/** The one self-contained executable of this coordinator's version, as machines fetch it. */
export interface Program {
  /** `millrace-<version>-<platform>`; no other name is ever asked for. */
  readonly name: string;
  readonly version: string;
  /** Such as `linux-x64`. */
  readonly platform: string;
  /** In hexadecimal. */
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** Platforms that an agent can be installed on. */
export const programPlatforms = ["linux-x64", "linux-arm64"] as const;

/** The programs that this coordinator can hand out. Any number of calls at a time; nothing is held between them. */
export interface Programs {
  /**
   * The program for a platform; undefined where there is none. Looks each time: one that is built later is found.
   * Throws `failed_precondition` when the file is not the one that was built.
   */
  find(platform: string): Promise<Program | undefined>;
  /**
   * Its bytes, in pieces of at most `limits.streamChunkBytes`. Whoever reads them compares the digest. Throws `aborted`
   * when another file has taken its place.
   */
  read(program: Program): AsyncIterable<Uint8Array>;
  /** What a person does when there is none. */
  readonly advice: string;
}
