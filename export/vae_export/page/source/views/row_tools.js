// A field for each column of a table, and a place to paste a row.

import { decodeRow, encodeRow, parseRow, tableColumns } from "../samples/tables.js";
import { byId, element } from "./elements.js";

/** Add the fields of a row to a view; returns {changed}, which fills them from its sample. */
export function rowTools(manifest, view) {
  const columns = tableColumns(manifest);
  const fields = columns.map((column) => fieldOf(column, () => read("")));
  const read = (note) =>
    view.try(async () => ({
      x: encodeRow(
        manifest,
        fields.map((field) => field.value),
      ),
      note,
    }));
  const pasted = element("textarea", { id: "pasted", rows: 2, spellcheck: "false" });
  pasted.addEventListener("input", () => {
    if (pasted.value.trim() === "") return;
    view.try(async () => ({
      x: encodeRow(manifest, parseRow(manifest, pasted.value)),
      note: "pasted",
    }));
  });
  const tools = element(
    "div",
    { class: "row" },
    ...columns.map(({ name }, i) => element("label", {}, name, fields[i])),
  );
  const place = element("label", { class: "paste" }, "Paste a row", pasted);
  byId("sample-tools").append(place, tools);
  return {
    changed: () => {
      const cells = decodeRow(manifest, view.x);
      fields.forEach((field, i) => {
        if (field !== document.activeElement) field.value = cells[i];
      });
    },
  };
}

function fieldOf({ kind, categories, fill }, onChange) {
  const missing = fill.length > 0 ? [""] : [];
  const choices = { boolean: ["true", "false", ...missing], category: [...categories, ...missing] };
  const field = choices[kind]
    ? element(
        "select",
        {},
        ...choices[kind].map((name) => element("option", { value: name }, name || "missing")),
      )
    : element("input", { type: "text", inputmode: "decimal" });
  field.addEventListener(choices[kind] ? "change" : "input", onChange);
  return field;
}
