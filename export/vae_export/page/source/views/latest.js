// Work that follows the reader's hand: the latest state counts, what came in between is left out.

import { setBusy } from "./elements.js";

/** Runs a function whenever it is asked to, never twice at once. */
export class Latest {
  #section;
  #work;
  #onError;
  #isRunning = false;
  #isStale = false;

  /** The section with this id is marked busy meanwhile. */
  constructor(section, work, onError) {
    this.#section = section;
    this.#work = work;
    this.#onError = onError;
  }

  /** Run the function, now or after the run that is going on. */
  async ask() {
    this.#isStale = true;
    setBusy(this.#section, true);
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#isStale) {
        this.#isStale = false;
        await this.#work();
        await new Promise(requestAnimationFrame);
      }
    } catch (error) {
      this.#onError(error);
    } finally {
      this.#isRunning = false;
      setBusy(this.#section, false);
    }
  }
}
