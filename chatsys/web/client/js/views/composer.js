// The message field: Enter sends, each room keeps its draft, others see that this user types.

import { byId } from "../dom.js";
import { names } from "../text.js";

const LINES = 8;
const REPEAT = 3_000;
const SILENT = 4_000;

export class Composer {
  #chat;
  #form = byId("composer");
  #text = byId("text");
  #problem = byId("composer-problem");
  #drafts = new Map();
  #room;
  #announced = 0;
  #timer;

  /** `sent()` is called after each message. */
  constructor(chat, sent) {
    this.#chat = chat;
    this.#form.onsubmit = (event) => {
      event.preventDefault();
      if (this.#send()) sent();
    };
    this.#text.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#form.requestSubmit();
    };
    this.#text.oninput = () => this.#written();
  }

  /** Another room is open. */
  opened() {
    if (this.#room !== undefined) this.#drafts.set(this.#room, this.#text.value);
    this.#room = this.#chat.room.name;
    this.#text.value = this.#drafts.get(this.#room) ?? "";
    this.#text.placeholder = `Message ${this.#room}`;
    this.#text.setAttribute("aria-label", `Message to ${this.#room}`);
    this.#quiet();
    this.#fit();
    this.#say("");
  }

  focus() {
    this.#text.focus();
  }

  render() {
    const typists = this.#chat.room.typists();
    const words = typists.length ? `${names(typists, 3)} ${typists.length === 1 ? "is" : "are"} typing…` : "";
    const line = byId("typing");
    if (line.textContent !== words) line.textContent = words;
  }

  #send() {
    const text = this.#text.value;
    if (!text.trim()) return false;
    const problem = this.#chat.send(text);
    this.#say(problem);
    if (problem) return false;
    this.#text.value = "";
    this.#fit();
    this.#quiet();
    return true;
  }

  #written() {
    this.#fit();
    this.#say("");
    if (!this.#text.value.trim()) return this.#quiet();
    if (Date.now() - this.#announced > REPEAT) {
      this.#announced = Date.now();
      this.#chat.typing(true);
    }
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#quiet(), SILENT);
    return undefined;
  }

  #quiet() {
    clearTimeout(this.#timer);
    if (this.#announced) this.#chat.typing(false);
    this.#announced = 0;
  }

  #fit() {
    this.#text.rows = Math.min(LINES, this.#text.value.split("\n").length);
  }

  #say(text) {
    this.#problem.hidden = !text;
    this.#problem.textContent = text;
  }
}
