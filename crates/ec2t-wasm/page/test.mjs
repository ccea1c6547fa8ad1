// What the page does, in Node: `node test.mjs FOLDER EXPECTED FILE…` loads the module in
// FOLDER, shows the picture in EXPECTED to its model and to each file, and prints the answers
// in the form of test.js.
import { readFileSync } from "node:fs";

const [folder, expected, ...files] = process.argv.slice(2);
const script = readFileSync(`${folder}/ec2t_wasm.js`, "utf8");
const wasm_bindgen = new Function(`${script}; return wasm_bindgen;`)();
await wasm_bindgen({ module_or_path: readFileSync(`${folder}/ec2t_wasm_bg.wasm`) });

const RUNS = 100;
const picture = JSON.parse(readFileSync(expected, "utf8"));

function answer(model) {
  const pixels = model.pixels(Uint8Array.from(picture.rgba), picture.width, picture.height);
  const top = model.classify(pixels, 5).map((guess) => guess.name ?? `class ${guess.class}`);
  const logits = Array.from(new Uint32Array(model.logits(pixels).buffer));
  for (let run = 0; run < RUNS; run += 1) model.logits(pixels); // compiled better meanwhile
  const begun = performance.now();
  for (let run = 0; run < RUNS; run += 1) model.logits(pixels);
  return { top, logits, milliseconds: (performance.now() - begun) / RUNS, complaint: "" };
}

function complaint() {
  try {
    new wasm_bindgen.PageModel(new TextEncoder().encode("GIF89a"));
    return "";
  } catch (error) {
    return `bad.ec2t: ${error.message}`;
  }
}

const models = files.map((file) => new wasm_bindgen.PageModel(readFileSync(file)));
const cases = [wasm_bindgen.PageModel.builtin("cifar10"), ...models].map(answer);
console.log(JSON.stringify({ cases, complaint: complaint(), faults: [] }));
