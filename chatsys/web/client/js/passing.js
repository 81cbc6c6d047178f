// The events that passed, as the drawer shows them: bounded, shortened, without tokens. Pure.

const MOST = 200;
const LONG = 300;
const FEW = 3;

export class Passing {
  entries = [];
  #number = 0;

  add(direction, name, payload, at = Date.now()) {
    this.#number += 1;
    this.entries.unshift({ number: this.#number, direction, name, at, payload: shortened(payload) });
    this.entries.length = Math.min(this.entries.length, MOST);
  }

  clear() {
    this.entries = [];
  }
}

/** A payload without secrets, with long texts and lists cut. */
export function shortened(value, key = "") {
  if (key === "token" && value) return "(your token)";
  if (typeof value === "string" && value.length > LONG) return `${value.slice(0, LONG)}… (${value.length} characters)`;
  if (Array.isArray(value)) {
    const shown = value.slice(-FEW).map((item) => shortened(item));
    return value.length > FEW ? [`… ${value.length - FEW} before`, ...shown] : shown;
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shortened(item, name)]));
}
