// Elements from plain values. Text is always a text node: nothing here, or anywhere in the client, parses markup.

import { hue, initials } from "./text.js";

export const byId = (id) => document.getElementById(id);

/** An element; `options` are properties, or attributes if their name has a hyphen or is `role`. */
export function h(tag, options = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === false) continue;
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

/** The circle with initials. Avatars are addresses on other hosts, which this page never loads. */
export const avatar = (userId, name) =>
  h("span", { className: `av hue-${hue(userId)}`, "aria-hidden": "true" }, initials(name));

/** A name as its user wrote it, left-to-right or right-to-left. */
export const nameText = (name) => h("bdi", {}, name);

/** A list whose elements stay as long as their content stays the same, so no click and no focus is lost. */
export class Keyed {
  #element;
  #known = new Map();

  constructor(element) {
    this.#element = element;
  }

  clear() {
    this.#known.clear();
    this.#element.replaceChildren();
  }

  get(key) {
    return this.#known.get(key)?.element;
  }

  /** Show `items`, each `{key, signature, build}`; an item is rebuilt when its signature changes. */
  arrange(items) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, { element }] of this.#known) {
      if (keys.has(key)) continue;
      element.remove();
      this.#known.delete(key);
    }
    let cursor = this.#element.firstChild;
    for (const { key, signature, build } of items) {
      let known = this.#known.get(key);
      if (known?.signature !== signature) {
        const element = build();
        if (cursor !== null && cursor === known?.element) cursor = element;
        if (known) replace(known.element, element);
        known = { element, signature };
        this.#known.set(key, known);
      }
      if (known.element === cursor) cursor = cursor.nextSibling;
      else this.#element.insertBefore(known.element, cursor);
    }
  }
}

/** If the focus was in the old element, move it to the new element's button with the same `data-do`. */
function replace(old, element) {
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.do : undefined;
  old.replaceWith(element);
  if (focused) element.querySelector(`[data-do="${focused}"]`)?.focus();
}

/** A button that does something; `what` names it within its row. */
export function button(what, options, ...children) {
  const element = h("button", { type: "button", ...options }, ...children);
  element.dataset.do = what;
  return element;
}

/** Run `work` at most once a frame, or every quarter of a second while the page is hidden. */
export function onceAFrame(work) {
  let due = false;
  const run = () => {
    due = false;
    work();
  };
  return () => {
    if (due) return;
    due = true;
    if (document.hidden) setTimeout(run, 250);
    else requestAnimationFrame(run);
  };
}

/** The values of a form, by the names of its fields. */
export const valuesOf = (form) => Object.fromEntries(new FormData(form));

/** Show the problem of a form, or clear it. */
export function problem(form, error) {
  const problem = form.querySelector(".problem");
  if (!error) problem.replaceChildren();
  else if (error.errors?.length) problem.replaceChildren(...error.errors.flatMap((text) => [text, h("br")]));
  else problem.replaceChildren(error.message);
}

/** Let `work` answer a form's submission: once at a time, its error shown in the form. */
export function submits(form, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button.primary");
    if (button.disabled) return;
    button.disabled = true;
    problem(form);
    try {
      await work(valuesOf(form), form);
    } catch (error) {
      problem(form, error);
    } finally {
      button.disabled = false;
    }
  });
}
