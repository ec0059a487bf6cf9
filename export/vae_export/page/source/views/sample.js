// The section "Try it": a sample of the reader's, its reconstruction, loss, p-value, and why.

import { sampleOf } from "../bundle/arrays.js";
import { checkSample } from "../samples/checks.js";
import { explain } from "../samples/explanation.js";
import { emptySample, kindOf } from "../samples/kinds.js";
import { parseNumbers } from "../samples/tables.js";
import { byId, element, setBusy } from "./elements.js";
import { Latest } from "./latest.js";
import { pictureTools } from "./picture_tools.js";
import { showResult } from "./result.js";
import { rowTools } from "./row_tools.js";

const HELP = {
  picture:
    "Drop or paste a picture, open a file, or draw with the mouse. With the keyboard: go to the " +
    "input, move with the arrow keys, and paint with the space bar.",
  row: "Type the values of a row, or paste a line of a table; a line with names may stand above it.",
  series: "Choose a sample of the proof, or paste numbers, position after position.",
  volume: "Choose a sample of the proof.",
  array: "Choose a sample of the proof.",
};

/** The sample that the section shows; the other views listen to it. */
export class SampleView {
  #bundle;
  #condition;
  #tools;
  #scoring = new Latest(
    "sample",
    () => this.#score(),
    (error) => this.refuse(error),
  );

  constructor(bundle, condition) {
    this.#bundle = bundle;
    this.#condition = condition;
    this.kind = kindOf(bundle.manifest);
    this.x = emptySample(bundle.manifest);
    this.zMean = null;
    byId("sample-help").textContent = HELP[this.kind];
    byId("sample-tools").replaceChildren(this.#examples(), ...condition.fields());
    this.#tools = this.#kindTools();
    condition.onChange(() => this.changed());
    this.showExample(0);
  }

  #kindTools() {
    const { manifest } = this.#bundle;
    if (this.kind === "picture") return pictureTools(manifest, this);
    if (this.kind === "row" && manifest.input.dtype === "float32") return rowTools(manifest, this);
    if (this.kind === "series") this.#listenForNumbers();
    return { changed: () => {} };
  }

  /** Return a choice among the samples of the proof. */
  #examples() {
    const count = this.#bundle.reference.x.shape[0];
    const last = ["zeros", "ones", "noise"];
    const names = Array.from({ length: count }, (_, i) => last[i - (count - 3)] ?? `${i + 1}`);
    const options = names.map((name, i) => element("option", { value: i }, name));
    const select = element("select", { id: "example" }, ...options);
    select.addEventListener("change", () => this.showExample(Number(select.value)));
    return element("label", {}, "Sample of the proof", select);
  }

  /** Show a sample of the proof, with its condition. */
  showExample(row) {
    const { reference, manifest } = this.#bundle;
    this.show(sampleOf(reference.x, row).slice(), "");
    if (manifest.condition) this.#condition.set(sampleOf(reference.condition, row));
  }

  #listenForNumbers() {
    document.addEventListener("paste", (event) => {
      const text = event.clipboardData.getData("text/plain");
      if (text)
        this.try(async () => ({ x: parseNumbers(this.#bundle.manifest, text), note: "pasted" }));
    });
  }

  /** Show what a function reads, {x, note}, or why it cannot be read. */
  async try(read) {
    setBusy("sample", true);
    try {
      const { x, note } = await read();
      checkSample(this.#bundle.manifest, x);
      this.show(x, note);
    } catch (error) {
      this.refuse(error);
    }
  }

  /** Say why a sample cannot be used. */
  refuse(error) {
    byId("sample-note").textContent = `Not used: ${error.message}.`;
    setBusy("sample", false);
  }

  /** Show a sample; `note` says where it comes from. */
  show(x, note) {
    this.x = x;
    byId("sample-note").textContent = note;
    this.#tools.changed();
    this.changed();
  }

  /** Score the sample again, after it was changed in place. */
  changed() {
    this.#scoring.ask();
  }

  async #score() {
    const x = this.x.slice();
    const result = await explain(this.#bundle, x, this.#condition.data);
    this.zMean = result.zMean;
    showResult(this.#bundle, x, result);
  }
}
