// The page: shows a model pictures, and what it makes of them.
//
// MODULE and FIRST_PICTURE are files in base64, put before this script by
// `cargo xtask wasm`; wasm_bindgen is the script that loads the module.

const GUESSES = 5;
/** Milliseconds for which an image is run again and again, in order to time it. */
const TIMING = 100;

const element = (id) => document.getElementById(id);
const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const grouped = (number) => number.toLocaleString("en");

/** The model in use, the picture as it was decoded, and what the model takes of it. */
let model, picture, pixels;

/** Takes what somebody dropped or picked: a model or a picture. */
async function take(file) {
  try {
    if (file.name?.endsWith(".ec2t")) {
      use(new wasm_bindgen.PageModel(new Uint8Array(await file.arrayBuffer())), file.name);
    } else {
      picture = await decode(file);
      drawPicture();
    }
    look();
    complain("");
  } catch (error) {
    complain(`${file.name ?? "picture"}: ${error.message}`);
  }
}

/** The pixels of a picture, upright: unlike `ec2t run`, browsers turn photographs as the camera noted. */
async function decode(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

function use(other, name) {
  model?.free();
  model = other;
  const [channels, height, width] = model.input;
  element("bytes").textContent = `${(model.bytes / 1000).toFixed(1)} KB`;
  element("model").textContent = `${name}: ${model.name}, ${model.classes} classes`;
  element("zeros").textContent = `${(100 * model.sparsity).toFixed(1)} %`;
  element("parameters").textContent = `of ${grouped(model.parameters)} parameters`;
  element("size").textContent = `${width} × ${height} pixels${channels === 1 ? " in grey" : ""}`;
}

/** Has the model look at the picture, and times it. */
function look() {
  pixels = model.pixels(picture.data, picture.width, picture.height);
  drawSeen();
  showGuesses(model.classify(pixels, GUESSES));
  element("time").textContent = `${milliseconds().toFixed(2)} ms`;
}

/** The mean time of a run. */
function milliseconds() {
  const begun = performance.now();
  for (let runs = 1; ; runs += 1) {
    model.logits(pixels);
    const passed = performance.now() - begun;
    if (passed >= TIMING) return passed / runs;
  }
}

function showGuesses(guesses) {
  const rows = guesses.map((guess) => {
    const share = `${(100 * guess.probability).toFixed(1)} %`;
    const row = document.createElement("li");
    row.innerHTML = '<span class="name"></span><span class="share"></span><span class="bar"><i></i></span>';
    row.querySelector(".name").textContent = guess.name ?? `class ${guess.class}`;
    row.querySelector(".share").textContent = share;
    row.querySelector("i").style.width = `${100 * guess.probability}%`;
    guess.free();
    return row;
  });
  element("guesses").replaceChildren(...rows);
}

function drawPicture() {
  const canvas = element("picture");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

/** Draws the planes that the model sees. */
function drawSeen() {
  const [channels, height, width] = model.input;
  const plane = width * height;
  const image = new ImageData(width, height);
  for (let at = 0; at < plane; at += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      image.data[4 * at + channel] = pixels[at + (channels === 1 ? 0 : channel * plane)];
    }
    image.data[4 * at + 3] = 255;
  }
  const canvas = element("seen");
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function complain(text) {
  element("error").textContent = text;
  element("error").hidden = text === "";
}

function listen() {
  const drop = element("drop");
  const mark = (over) => (event) => {
    event.preventDefault();
    drop.classList.toggle("over", over);
  };
  // All of the window: a file that misses the frame would otherwise replace the page.
  addEventListener("dragover", mark(true));
  addEventListener("dragleave", mark(false));
  addEventListener("drop", (event) => {
    mark(false)(event);
    if (event.dataTransfer.files.length > 0) take(event.dataTransfer.files[0]);
  });
  element("file").addEventListener("change", (event) => {
    if (event.target.files.length > 0) take(event.target.files[0]);
    event.target.value = "";
  });
}

/** Fulfilled when the first picture has its answer. */
const ready = (async () => {
  await wasm_bindgen({ module_or_path: bytes(MODULE) });
  use(wasm_bindgen.PageModel.builtin("cifar10"), "cifar10");
  listen();
  await take(new Blob([bytes(FIRST_PICTURE)], { type: "image/png" }));
})();
ready.catch((error) => complain(error.message));
