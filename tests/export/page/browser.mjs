// Drives Chromium by Playwright for the tests of the page.
//
// Each line of the input is a job {page, options, steps}; each line of the output is its answer
// {results, requests, errors}. Arguments: the folder node_modules, and the program of a Chromium.

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [modules, program] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)("playwright-core");

// The browser must fetch only the page. Its sandbox does not start for root, as in a container.
const browser = await chromium.launch({
  executablePath: program,
  args: [
    "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking",
    "--disable-component-update --disable-sync --disable-quic",
  ].flatMap((flags) => flags.split(" ")),
});

/** A file as the reader's mouse or clipboard brings it. */
async function transfer(page, event, path, type) {
  const data = (await readFile(path)).toString("base64");
  await page.evaluate(
    ([name, mime, text]) => {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const files = new DataTransfer();
      files.items.add(new File([bytes], "picture", { type: mime }));
      const given = name === "drop" ? { dataTransfer: files } : { clipboardData: files };
      const Kind = name === "drop" ? DragEvent : ClipboardEvent;
      document.body.dispatchEvent(new Kind(name, { bubbles: true, cancelable: true, ...given }));
    },
    [event, type, data],
  );
}

const STEPS = {
  wait: (page, selector) => page.waitForSelector(selector).then(() => null),
  text: (page, selector) => page.locator(selector).innerText(),
  rows: (page, selector) =>
    page.locator(`${selector} tr`).evaluateAll((rows) =>
      rows.map((row) => [...row.cells].map((cell) => cell.textContent)),
    ),
  evaluate: (page, source) => page.evaluate(source),
  script: async (page, path) => page.evaluate(await readFile(path, "utf8")).then(() => null),
  press: async (page, selector, key, count = 1) => {
    for (let i = 0; i < count; i++) await page.locator(selector).press(key);
    return null;
  },
  click: async (page, selector, across = 0.5, down = 0.5) => {
    const box = await page.locator(selector).boundingBox();
    const position = { x: across * box.width, y: down * box.height };
    await page.locator(selector).click({ position });
    return null;
  },
  drag: async (page, selector, ...points) => {
    await page.locator(selector).scrollIntoViewIfNeeded();
    const box = await page.locator(selector).boundingBox();
    for (const [i, [x, y]] of points.entries()) {
      await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
      if (i === 0) await page.mouse.down();
    }
    await page.mouse.up();
    return null;
  },
  select: (page, selector, value) => page.locator(selector).selectOption(value).then(() => null),
  fill: (page, selector, value) => page.locator(selector).fill(value).then(() => null),
  upload: (page, selector, path) => page.locator(selector).setInputFiles(path).then(() => null),
  drop: (page, path, type) => transfer(page, "drop", path, type),
  paste: (page, path, type) => transfer(page, "paste", path, type),
  screenshot: (page, path) => page.screenshot({ path, fullPage: true }).then(() => null),
};

async function visit({ page: path, options, steps }) {
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  const [requests, errors, results] = [[], [], []];
  try {
    const page = await context.newPage();
    page.on("request", (request) => requests.push(request.url()));
    page.on("pageerror", (error) => errors.push(error.stack));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.goto(`file://${path}`);
    for (const [name, ...args] of steps) results.push((await STEPS[name](page, ...args)) ?? null);
  } catch (error) {
    errors.push(error.stack);
  } finally {
    await context.close();
  }
  return { results, requests, errors };
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await visit(JSON.parse(line))));
}
await browser.close();
