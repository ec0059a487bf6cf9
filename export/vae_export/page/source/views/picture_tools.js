// Tools for pictures: open, drop, paste, camera, and a brush for mouse and keyboard.

import { emptySample, unitValues } from "../samples/kinds.js";
import { paintSpot, readPicture } from "../samples/pictures.js";
import { byId, element } from "./elements.js";
import { paint } from "./pictures.js";

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Add the tools of pictures to a view; returns {changed}, which paints the view's sample. */
export function pictureTools(manifest, view) {
  const [height, width, channels] = manifest.input.shape;
  const canvas = element("canvas", {
    id: "input",
    class: "paint",
    tabindex: 0,
    role: "application",
    "aria-label": `Input, ${width} by ${height} pixels: arrow keys move the brush, space paints`,
  });
  const cursor = [width / 2, height / 2];
  const brush = brushFields(width, channels);
  const changed = () => paint(canvas, manifest, view.x, unitValues(manifest));
  const spot = (column, row) => {
    paintSpot(view.x, manifest, column, row, brush.radius(), brush.colour());
    changed();
    view.changed();
  };
  listenForMouse(canvas, spot);
  canvas.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    if (!move && event.key !== " ") return;
    event.preventDefault();
    if (move) {
      cursor[0] = Math.min(Math.max(cursor[0] + move[0], 0.5), width - 0.5);
      cursor[1] = Math.min(Math.max(cursor[1] + move[1], 0.5), height - 0.5);
    }
    if (event.key === " " || event.shiftKey) spot(...cursor);
    else changed();
    markCursor(canvas, cursor);
  });
  canvas.addEventListener("blur", changed);

  const open = (file) => view.try(() => readPicture(file, manifest));
  const clear = element("button", { type: "button", id: "clear" }, "Clear");
  clear.addEventListener("click", () => view.show(emptySample(manifest), ""));
  const tools = [fileField(open), ...brush.fields, clear, cameraButton(manifest, view)];
  byId("sample-tools").append(...tools);
  byId("sample-figures").append(
    element("figure", {}, canvas, element("figcaption", {}, "Input: draw here")),
  );
  listenForFiles(open);
  return { changed };
}

function brushFields(width, channels) {
  const size = element("input", {
    type: "range",
    min: 0.3,
    max: Math.max(1, width / 10),
    step: 0.1,
  });
  size.value = Math.max(0.5, width / 24);
  const colour = element("input", { type: "color", value: "#ffffff" });
  const eraser = element("input", { type: "checkbox", id: "eraser" });
  const channel = (at) => parseInt(colour.value.slice(1 + 2 * at, 3 + 2 * at), 16) / 255;
  return {
    radius: () => Number(size.value),
    colour: () => {
      if (eraser.checked) return Array(channels).fill(0);
      return channels === 3 ? [0, 1, 2].map(channel) : [1];
    },
    fields: [
      element("label", {}, "Brush", size),
      ...(channels === 3 ? [element("label", {}, "Colour", colour)] : []),
      element("label", { class: "check" }, eraser, "Eraser"),
    ],
  };
}

function listenForMouse(canvas, spot) {
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height,
    ];
  };
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = at(event);
    spot(...last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    const [from, to] = [last, at(event)];
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) * 2));
    for (let i = 1; i <= steps; i++) {
      spot(...from.map((value, axis) => value + ((to[axis] - value) * i) / steps));
    }
    last = to;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, () => {
      last = null;
    });
  }
}

function markCursor(canvas, [column, row]) {
  const context = canvas.getContext("2d");
  context.fillStyle = "rgb(0 190 255 / 70%)";
  context.fillRect(Math.floor(column), Math.floor(row), 1, 1);
}

function fileField(open) {
  const input = element("input", { type: "file", id: "file", accept: "image/*" });
  input.addEventListener("change", () => input.files[0] && open(input.files[0]));
  return element("label", {}, "Open a picture", input);
}

function listenForFiles(open) {
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files[0]) open(event.clipboardData.files[0]);
  });
}

/** Return a button that shows the camera, and then takes a square picture of it. */
function cameraButton(manifest, view) {
  const button = element("button", { type: "button", id: "camera" }, "Camera");
  const video = element("video", { muted: true, playsinline: true, hidden: true });
  const box = element("span", {}, button, video);
  let stream = null;
  button.hidden = !navigator.mediaDevices?.getUserMedia;
  const stop = () => {
    for (const track of stream.getTracks()) track.stop();
    stream = null;
    video.hidden = true;
    button.textContent = "Camera";
  };
  button.addEventListener("click", () => {
    if (stream !== null) {
      view.try(() => readPicture(video, manifest)).finally(stop);
      return;
    }
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then(
      (opened) => {
        stream = opened;
        video.srcObject = opened;
        video.hidden = false;
        button.textContent = "Take the picture";
        return video.play();
      },
      (error) => view.refuse(new Error(`the camera does not open (${error.name})`)),
    );
  });
  return box;
}
