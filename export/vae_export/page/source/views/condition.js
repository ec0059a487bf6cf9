// The condition of a conditional model, chosen once for samples and for the latent space.

import { element } from "./elements.js";

/** Return the data of the first condition of the proof; null for models without one. */
export function firstCondition(bundle) {
  if (!bundle.manifest.condition) return null;
  const size = bundle.reference.condition.data.length / bundle.reference.x.shape[0];
  return bundle.reference.condition.data.slice(0, size);
}

/** Return fields that change a condition in place and then call `onChange`; none without one. */
export function conditionFields(manifest, condition, onChange) {
  if (!manifest.condition) return [];
  const { categories } = manifest.condition;
  if (categories) {
    const options = categories.map((name, i) => element("option", { value: i }, name));
    const select = element("select", {}, ...options);
    select.value = condition.indexOf(1);
    select.addEventListener("change", () => {
      condition.fill(0)[select.value] = 1;
      onChange();
    });
    return [element("label", {}, "Condition", select)];
  }
  return Array.from(condition, (value, i) => {
    const input = element("input", { type: "text", inputmode: "decimal", value, size: 8 });
    input.addEventListener("input", () => {
      if (!Number.isFinite(Number(input.value))) return;
      condition[i] = Number(input.value);
      onChange();
    });
    return element("label", {}, `Condition ${i + 1}`, input);
  });
}
