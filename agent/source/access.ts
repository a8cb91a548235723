/** What opens a repository, for as long as git needs it. */
export interface Access extends AsyncDisposable {
  /** Given to git and what it starts; what is secret is in no argument, no address and no file that has a name. */
  readonly environment: Readonly<Record<string, string>>;
}
