// Formats names, numbers, days and times. Pure functions.

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Whether a user id belongs to a guest: accounts have UUIDs, guests never do. */
export const isGuest = (userId) => !UUID.test(userId);

/** One or two characters for the circle beside a name. */
export function initials(name) {
  const words = name.trim().split(/[\s_.-]+/u).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words[1]].map((word) => [...word][0]) : [...(words[0] ?? "?")].slice(0, 2);
  return letters.join("").toLocaleUpperCase();
}

/** A number from 0 to 7 that stays the same for one user. */
export function hue(userId) {
  let sum = 2_166_136_261; // FNV-1a
  for (const character of userId) sum = Math.imul(sum ^ character.codePointAt(0), 16_777_619);
  return (sum ^ (sum >>> 15)) & 7;
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** "Ann", "Ann and Ben", "Ann, Ben and 3 others". */
export function names(list, most = 2) {
  if (list.length <= 1) return list.join("");
  if (list.length <= most) return `${list.slice(0, -1).join(", ")} and ${list.at(-1)}`;
  return `${list.slice(0, most).join(", ")} and ${count(list.length - most, "other")}`;
}

export const time = (timestamp) =>
  new Date(timestamp).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

export const clock = (milliseconds) => {
  const date = new Date(milliseconds);
  return `${date.toLocaleTimeString("en-GB")}.${String(date.getMilliseconds()).padStart(3, "0")}`;
};

export const dayKey = (timestamp) => new Date(timestamp).toDateString();

/** "Thursday, 26 November", with the year if it is not this one. */
export function day(timestamp, now = new Date()) {
  const date = new Date(timestamp);
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year });
}

/** "today at 14:03", "26 November at 14:03". */
export function moment(timestamp, now = new Date()) {
  const date = new Date(timestamp);
  const today = date.toDateString() === now.toDateString();
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  const when = today ? "today" : date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year });
  return `${when} at ${time(timestamp)}`;
}
