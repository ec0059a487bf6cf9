// The condition of a conditional model: chosen once, for samples and for the latent space.

import { element } from "./elements.js";

/** A condition that several views show and change; models without one have no data. */
export class Condition {
  #manifest;
  #listeners = [];

  /** Start with the condition of the proof's first sample. */
  constructor({ manifest, reference }) {
    this.#manifest = manifest;
    const size = manifest.condition && reference.condition.data.length / reference.x.shape[0];
    this.data = manifest.condition ? reference.condition.data.slice(0, size) : null;
  }

  /** Call a function after each change. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Take the numbers of another condition. */
  set(data) {
    if (this.data === null) return;
    this.data.set(data);
    for (const listener of this.#listeners) listener();
  }

  /** Return fields that show and change the condition; none for models without one. */
  fields() {
    if (this.data === null) return [];
    const { categories } = this.#manifest.condition;
    return categories
      ? [this.#choice(categories)]
      : Array.from(this.data, (_, i) => this.#number(i));
  }

  #choice(categories) {
    const options = categories.map((name, i) => element("option", { value: i }, name));
    const select = element("select", { name: "condition" }, ...options);
    select.addEventListener("change", () => {
      this.set(categories.map((_, i) => (i === Number(select.value) ? 1 : 0)));
    });
    return this.#following("Condition", select, () => {
      select.value = this.data.indexOf(1);
    });
  }

  #number(i) {
    const input = element("input", { type: "text", inputmode: "decimal", size: 8 });
    input.addEventListener("input", () => {
      const value = Number(input.value);
      if (input.value.trim() !== "" && Number.isFinite(value)) this.set(this.data.with(i, value));
    });
    return this.#following(`Condition ${i + 1}`, input, () => {
      if (input !== document.activeElement) input.value = this.data[i];
    });
  }

  #following(label, field, follow) {
    follow();
    this.onChange(follow);
    return element("label", {}, label, field);
  }
}
