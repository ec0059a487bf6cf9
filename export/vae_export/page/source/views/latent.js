// The section "Latent space": sliders, a plane to click in, a path between samples, and draws.

import { sampleOf, stackRows } from "../bundle/arrays.js";
import { drawFrom } from "../proof/mixture.js";
import { conditions } from "../samples/explanation.js";
import { kindOf, latentShape, reconstructedUnitValues } from "../samples/kinds.js";
import { byId, drawing, element } from "./elements.js";
import { Latest } from "./latest.js";
import { sampleFigure } from "./pictures.js";

const MAX_SLIDERS = 8;
const REACH = 3.5; // ends of sliders and plane, in standard deviations of the prior
const DRAWS = 24;
const PLANE = 200; // units of the drawing
const KEY_STEP = 0.25;

/** One point z of the latent space, and its controls. */
export class LatentView {
  #bundle;
  #condition;
  #dimensions;
  #sliders = new Map();
  #decoding = new Latest(
    "latent",
    () => this.#showDecoded(),
    (error) => this.onFault(error),
  );

  constructor(bundle, condition) {
    this.#bundle = bundle;
    this.#condition = condition;
    this.#dimensions = activeDimensions(bundle).slice(0, MAX_SLIDERS);
    this.z = new Float32Array(bundle.manifest.latent_dim);
    this.onOwn = () => {};
    this.onFault = () => {};
    byId("latent-help").textContent =
      `${bundle.manifest.latent_dim} dimensions. The sliders move the ${this.#dimensions.length} ` +
      "that carry most, the plane the first two of them. Each point is decoded as you move.";
    byId("latent-sliders").replaceChildren(...this.#dimensions.map((each) => this.#slider(each)));
    byId("latent-plane").replaceChildren(this.#plane());
    byId("latent-tools").replaceChildren(...this.#tools());
    condition.onChange(() => this.#show());
    this.moveTo(this.z);
  }

  /** Move to a point, and decode it. */
  moveTo(z) {
    this.z = Float32Array.from(z);
    this.#show();
  }

  #slider(dimension) {
    const input = element("input", {
      type: "range",
      min: -REACH,
      max: REACH,
      step: 0.05,
      id: `z-${dimension}`,
    });
    const output = element("output", { for: input.id });
    input.addEventListener("input", () => {
      this.z[dimension] = Number(input.value);
      this.#show();
    });
    this.#sliders.set(dimension, { input, output });
    return element("label", {}, `dimension ${dimension}`, input, output);
  }

  #plane() {
    const [first, second = first] = this.#dimensions;
    const points = planePoints(this.#bundle, first, second).map(([x, y]) =>
      drawing("circle", { class: "point", cx: place(x), cy: place(-y), r: 1.6 }),
    );
    const axes = [
      drawing("path", { class: "axis", d: `M0,${PLANE / 2}H${PLANE}M${PLANE / 2},0V${PLANE}` }),
    ];
    const here = drawing("circle", { class: "here", id: "here", r: 5 });
    const svg = drawing(
      "svg",
      {
        id: "plane",
        viewBox: `0 0 ${PLANE} ${PLANE}`,
        tabindex: 0,
        role: "application",
        "aria-label": `Plane of dimensions ${first} and ${second}: arrow keys move the point`,
      },
      ...axes,
      ...points,
      here,
    );
    const move = (x, y) => {
      const clipped = [x, y].map((value) => Math.min(Math.max(value, -REACH), REACH));
      [this.z[first], this.z[second]] = clipped;
      this.#show();
    };
    listenInPlane(svg, move, () => [this.z[first], this.z[second]]);
    const caption = `Dimensions ${first} (across) and ${second} (up). Dots: z_mean of known samples.`;
    return element("figure", {}, svg, element("figcaption", {}, caption));
  }

  #tools() {
    const { reference, mixture } = this.#bundle;
    const fromMixture = () => drawFrom(mixture, Float64Array.from(this.z, normal), Math.random());
    const options = (chosen) =>
      Array.from({ length: reference.z_mean.shape[0] }, (_, i) =>
        element("option", { value: i, selected: i === chosen }, `sample ${i + 1}`),
      );
    const [from, to] = [
      element("select", { id: "from" }, ...options(0)),
      element("select", { id: "to" }, ...options(1)),
    ];
    const along = element("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      value: 0,
      id: "along",
    });
    const follow = () => {
      const [a, b] = [from, to].map(({ value }) => sampleOf(reference.z_mean, Number(value)));
      const t = Number(along.value);
      this.moveTo(a.map((value, i) => (1 - t) * value + t * b[i]));
    };
    for (const input of [from, to, along]) input.addEventListener("input", follow);
    const button = (id, text, act) => {
      const made = element("button", { type: "button", id }, text);
      made.addEventListener("click", act);
      return made;
    };
    return [
      element("label", {}, "From", from),
      element("label", {}, "To", to),
      element("label", {}, "On the way", along),
      button("origin", "Origin", () => this.moveTo(this.z.fill(0))),
      button("own", "z_mean of the sample above", () => this.onOwn()),
      button("draw", `Draw ${DRAWS} from N(0, I)`, () => this.draw(() => this.z.map(normal))),
      ...(mixture
        ? [button("draw-mixture", `Draw ${DRAWS} from the mixture`, () => this.draw(fromMixture))]
        : []),
      ...this.#condition.fields(),
    ];
  }

  /** Draw points from a prior, show them, and let the reader choose one. */
  async draw(prior) {
    const points = Array.from({ length: DRAWS }, prior);
    const decoded = await this.#decode(points);
    byId("latent-draws").classList.toggle(
      "lines",
      ["row", "series"].includes(kindOf(this.#bundle.manifest)),
    );
    byId("latent-draws").replaceChildren(
      ...points.map((z, i) => {
        const label = `draw ${i + 1}`;
        const button = element(
          "button",
          { type: "button", "aria-label": `Go to ${label}` },
          this.#figure(decoded[i], label),
        );
        button.addEventListener("click", () => this.moveTo(z));
        return button;
      }),
    );
  }

  async #decode(points) {
    const { manifest, graphs } = this.#bundle;
    const z = stackRows(latentShape(manifest), points);
    const { reconstruction } = await graphs.run("decoder", {
      z,
      ...conditions(manifest, this.#condition.data, points.length),
    });
    return points.map((_, i) => sampleOf(reconstruction, i));
  }

  #figure(data, label) {
    const { manifest } = this.#bundle;
    return sampleFigure(manifest, data, reconstructedUnitValues(manifest), label);
  }

  /** Show the point on all controls, and decode it. */
  #show() {
    for (const [dimension, { input, output }] of this.#sliders) {
      input.value = this.z[dimension];
      output.textContent = this.z[dimension].toFixed(2);
    }
    const [first, second = first] = this.#dimensions;
    byId("here").setAttribute("cx", place(this.z[first]));
    byId("here").setAttribute("cy", place(-this.z[second]));
    this.#decoding.ask();
  }

  async #showDecoded() {
    const [data] = await this.#decode([this.z]);
    const figure = this.#figure(data, "Decoded point");
    byId("latent-decoded").replaceChildren(
      element("figure", {}, figure, element("figcaption", {}, "Decoded from this point")),
    );
  }
}

function listenInPlane(svg, move, position) {
  const toPoint = (event) => {
    const box = svg.getBoundingClientRect();
    const across = (event.clientX - box.left) / box.width;
    const down = (event.clientY - box.top) / box.height;
    move((2 * across - 1) * REACH, (1 - 2 * down) * REACH);
  };
  svg.addEventListener("pointerdown", (event) => {
    svg.setPointerCapture(event.pointerId);
    toPoint(event);
  });
  svg.addEventListener("pointermove", (event) => {
    if (svg.hasPointerCapture(event.pointerId)) toPoint(event);
  });
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  svg.addEventListener("keydown", (event) => {
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const [x, y] = position();
    move(x + KEY_STEP * step[0], y + KEY_STEP * step[1]);
  });
}

function place(value) {
  return ((value / REACH + 1) * PLANE) / 2;
}

/** Return the latent dimensions, the one with the largest KL divergence first. */
function activeDimensions({ manifest, reference }) {
  const kl = manifest.training?.latents.kl_per_dimension ?? meanSquares(reference.z_mean);
  return Array.from({ length: manifest.latent_dim }, (_, i) => i).sort((a, b) => kl[b] - kl[a]);
}

function meanSquares(zMean) {
  const size = zMean.data.length / zMean.shape[0];
  const sums = new Float64Array(size);
  zMean.data.forEach((value, i) => {
    sums[i % size] += value * value;
  });
  return sums;
}

/** Return the places of training samples in the plane, else of those of the proof. */
function planePoints({ reference, novelty }, first, second) {
  const zMean = novelty?.z_mean ?? reference.z_mean;
  return Array.from({ length: zMean.shape[0] }, (_, i) => {
    const z = sampleOf(zMean, i);
    return [z[first], z[second]];
  });
}

/** Return a number from N(0, 1), by Box and Muller. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
