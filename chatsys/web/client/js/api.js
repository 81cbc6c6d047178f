// The HTTP endpoints that the client uses. Each call returns the decoded body, or throws an ApiError.

import { ApiError } from "./errors.js";

const PATIENCE = 15_000;

export class Api {
  #base;
  #fetch;
  #token;

  /** `base` is the URL that contains `api/`; `token` returns the token to send, or null. */
  constructor(base, token, fetch = globalThis.fetch.bind(globalThis)) {
    this.#base = base;
    this.#token = token;
    this.#fetch = fetch;
  }

  register = (fields) => this.#request("POST", "auth/register", fields);
  login = (fields) => this.#request("POST", "auth/login", fields);
  user = (userId) => this.#request("GET", `users/${encodeURIComponent(userId)}`);
  search = (text) => this.#request("GET", `users/search/${encodeURIComponent(text)}`);
  update = (userId, fields) => this.#request("PUT", `users/${encodeURIComponent(userId)}`, fields);
  remove = (userId) => this.#request("DELETE", `users/${encodeURIComponent(userId)}`);
  stats = (room) => this.#request("GET", `rooms/${encodeURIComponent(room)}/stats`);

  /** A page of the rooms by name; `next` in the answer is the `after` of the next page. */
  rooms = (after = "") => this.#request("GET", after ? `rooms?after=${encodeURIComponent(after)}` : "rooms");

  /** At most `limit` messages before the number `before`, or the newest. */
  messages(room, { limit, before }) {
    const query = new URLSearchParams({ limit, ...(before === undefined ? {} : { before }) });
    return this.#request("GET", `rooms/${encodeURIComponent(room)}/messages?${query}`);
  }

  async #request(method, path, fields) {
    const headers = {};
    const token = this.#token();
    if (fields !== undefined) headers["Content-Type"] = "application/json";
    if (token && ["PUT", "DELETE"].includes(method)) headers.Authorization = `Bearer ${token}`;
    let response;
    let body;
    try {
      response = await this.#fetch(new URL(`api/${path}`, this.#base), {
        method,
        headers,
        body: fields === undefined ? undefined : JSON.stringify(fields),
        signal: AbortSignal.timeout(PATIENCE),
      });
      body = await response.json();
    } catch {
      throw new ApiError("The server does not answer. Try again in a moment.");
    }
    if (response.ok) return body;
    throw new ApiError(explain(response, body), response.status, Array.isArray(body.errors) ? body.errors : []);
  }
}

function explain(response, body) {
  const message = typeof body.message === "string" ? body.message : `The server answered ${response.status}.`;
  const seconds = Number(response.headers.get("Retry-After"));
  if (response.status !== 429 || !(seconds > 0)) return message;
  return `${message}. Try again in ${seconds < 120 ? `${seconds} s` : `${Math.ceil(seconds / 60)} minutes`}.`;
}
