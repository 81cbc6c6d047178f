// Who uses this browser: an account with its token, or a guest. Kept in the browser's storage until log-out.

export class Sessions {
  #storage;
  #key;

  /** `basePath` distinguishes several servers behind one host. */
  constructor(storage, basePath) {
    this.#storage = storage;
    this.#key = `chatsys:${basePath}:session`;
  }

  /** `{user, token}`, the token null for a guest; null if nobody is logged in. */
  load() {
    try {
      const session = JSON.parse(this.#storage.getItem(this.#key));
      return typeof session?.user?.userId === "string" ? session : null;
    } catch {
      return null;
    }
  }

  save(session) {
    try {
      this.#storage.setItem(this.#key, JSON.stringify(session));
    } catch {
      // The storage is full or closed: the session lasts as long as the page.
    }
    return session;
  }

  clear() {
    this.#storage.removeItem(this.#key);
  }
}

/** A guest under a name, with an id by which the server knows the guest's own messages. */
export function guest(name) {
  const user = { userId: `guest-${crypto.randomUUID().replaceAll("-", "")}`, username: name, displayName: name };
  return { user, token: null };
}
