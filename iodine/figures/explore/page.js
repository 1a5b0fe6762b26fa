"use strict";

// The interface: scenes, their slots, and what can be done with these. Slots are decoded by workers
// that run decoder.js.

const content = JSON.parse(document.getElementById("content").textContent);
const element = (id) => document.getElementById(id);
const [height, width] = content.size;
const numPixels = height * width;
const { channels, n_z: numLatents } = content.decoder;
const { readouts, prior, spread } = content;
const canMove = readouts.length > 0;
const MAX_ADDED = 4; // slots, beside a scene's own
const DRAFT_MILLISECONDS = 60; // of a slot's decoding while it is dragged
const FIRST_MILLISECONDS = 150; // of a whole scene's first frame
const CLOSE = Math.max(0.35, 0.004 * Math.max(height, width)); // pixels between an object and the hand that are left alone
const MAX_CORRECTIONS = 8;
const MAX_STEP = 0.15; // share of the image that an object moves by between two measurements
const PROBE = 0.15; // change of a latent, as a share of its spread
const PROBE_MILLISECONDS = 25;
const SEEN = 0.1; // change of a pixel's colour by which a slot is seen there

function floats(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

function slotColor(k) { // evenly spaced hues, those of added slots in between
  const hue = (360 * (k % content.slots + (k < content.slots ? 0 : 0.5))) / content.slots;
  const part = (n) => { // of hsl(hue, 75 %, 55 %)
    const position = (n + hue / 30) % 12;
    return 255 * (0.55 - 0.34 * Math.max(-1, Math.min(position - 3, 9 - position, 1)));
  };
  return [part(0), part(8), part(4)];
}

// ------------------------------------------------------------------ scenes and slots

const latents = floats(content.latents);

function stateOf(scene, state, k) {
  const start = ((scene * content.states + state) * content.slots + k) * numLatents;
  return latents.slice(start, start + numLatents);
}

// A slot: its latents z, which `version` counts the changes of, and the last decoded image of it.
function newSlot(z, name, number) {
  return {
    z, name, number, color: slotColor(number), on: true, version: 0, pending: 0,
    base: null, logits: null, pixels: null, shown: -1, scale: 0, mask: new Float32Array(numPixels),
  };
}

const scenes = content.scenes.map(({ title, image }, i) => ({
  title, image, state: content.states - 1, selected: 0,
  slots: Array.from({ length: content.slots }, (_, k) =>
    newSlot(stateOf(i, content.states - 1, k), `Slot ${k + 1}`, k)),
}));
let current = 0;
let pointed = -1; // slot whose mask is shown
let clipboard = null;
let drag = null; // {slot, goal, ...} of the object that is being moved
const scene = () => scenes[current];
const selected = () => scene().slots[scene().selected];

function change(slot, z) {
  slot.z = Float32Array.from(z);
  slot.version += 1;
  pump();
}

// ------------------------------------------------------------------ decoding

const source = URL.createObjectURL(new Blob([element("decoder").textContent]));
const weights = floats(content.weights);
const workers = Array.from(
  { length: Math.min(4, navigator.hardwareConcurrency || 2) },
  () => {
    const worker = new Worker(source);
    worker.postMessage({ description: content.decoder, weights });
    worker.onmessage = receive;
    worker.onerror = () => say("This browser cannot decode slots: it needs WebAssembly with SIMD.");
    return { worker, job: null };
  },
);
let millisecondsPerPixel = 0; // what decoding took lately

// The share of the full size that fits into a time, for a number of slots.
function draftScale(count) {
  const scales = [1, 0.5, 0.25].filter((s) => s === 1 || s * Math.min(height, width) >= 8);
  if (!millisecondsPerPixel) return scales[scales.length - 1];
  const rounds = Math.ceil(count / workers.length);
  const allowed = count > 1 ? FIRST_MILLISECONDS : DRAFT_MILLISECONDS;
  const fits = (s) => s * s * numPixels * millisecondsPerPixel * rounds <= allowed;
  return scales.find(fits) || scales[scales.length - 1];
}

function nextJob(worker) {
  const changed = scene().slots.filter((slot) => slot.shown !== slot.version);
  const waiting = changed.filter((slot) => !slot.pending);
  if (waiting.length) {
    // What the hand has let go of is put in its place by what is seen at full size.
    const isLast = drag?.slot === waiting[0] && !drag.isHeld;
    const count = waiting[0].logits ? changed.length : scene().slots.length;
    return { slot: waiting[0], scale: isLast ? 1 : draftScale(count) };
  }
  // One worker stays free for what the hand does next.
  const isReserved = workers.length > 1 && worker === workers[0];
  if (isReserved || changed.length || drag?.isHeld) return null;
  const coarse = scene().slots.filter((slot) => slot.scale < 1 && !slot.pending);
  return coarse.length ? { slot: coarse[0], scale: 1 } : null;
}

function pump() {
  for (const each of workers) {
    if (each.job) continue;
    const job = nextJob(each);
    if (!job) continue;
    each.job = { ...job, version: job.slot.version };
    job.slot.pending += 1;
    const latents = [job.slot.z, ...(drag?.slot === job.slot ? probes(job.slot.z, job.scale) : [])];
    each.worker.postMessage({
      latents, height: Math.round(job.scale * height), width: Math.round(job.scale * width),
    });
  }
}

function receive({ target, data }) {
  const each = workers.find(({ worker }) => worker === target);
  const { slot, scale, version } = each.job;
  each.job = null;
  slot.pending -= 1;
  millisecondsPerPixel = data.milliseconds / (data.height * data.width * data.decoded.length);
  const [shown, ...probed] = data.decoded.map(({ logits, pixels }) => (
    { logits: enlarge(logits, data, 1), pixels: enlarge(pixels, data, channels) }));
  Object.assign(slot, shown);
  slot.shown = version;
  slot.scale = scale;
  if (scene().slots.includes(slot)) {
    if (drag?.slot === slot) follow(probed);
    redraw();
  }
  pump();
}

const isIdle = () => workers.every(({ job }) => !job) && !drag?.isHeld
  && scene().slots.every((slot) => slot.shown === slot.version && slot.scale === 1);

// An image of the full size, by linear interpolation; first and last pixels stay where they are, as
// in the decoder's coordinates.
function enlarge(values, { height: rows, width: columns }, depth) {
  if (rows === height && columns === width) return values;
  const result = new Float32Array(numPixels * depth);
  const place = (i, from, to) => (to > 1 ? (i * (from - 1)) / (to - 1) : 0);
  for (let y = 0; y < height; y++) {
    const v = place(y, rows, height);
    const [y0, y1] = [Math.floor(v), Math.min(Math.floor(v) + 1, rows - 1)];
    for (let x = 0; x < width; x++) {
      const u = place(x, columns, width);
      const [x0, x1] = [Math.floor(u), Math.min(Math.floor(u) + 1, columns - 1)];
      for (let c = 0; c < depth; c++) {
        const at = (row, column) => values[(row * columns + column) * depth + c];
        const upper = at(y0, x0) + (u - x0) * (at(y0, x1) - at(y0, x0));
        const lower = at(y1, x0) + (u - x0) * (at(y1, x1) - at(y1, x0));
        result[(y * width + x) * depth + c] = upper + (v - y0) * (lower - upper);
      }
    }
  }
  return result;
}

// ------------------------------------------------------------------ the scene that slots make

const reconstruction = new Float32Array(numPixels * channels);
const visibleSlots = (of) => of.slots.filter((slot) => slot.on && slot.logits);

// Masks are the softmax of the logits over the slots that are on, the scene is their components'
// sum weighed by them.
function compose(of) {
  const slots = visibleSlots(of);
  reconstruction.fill(0);
  for (const slot of of.slots) if (!slots.includes(slot)) slot.mask.fill(0);
  for (let i = 0; i < numPixels; i++) {
    let highest = -Infinity;
    for (const { logits } of slots) highest = Math.max(highest, logits[i]);
    let total = 0;
    for (const slot of slots) total += slot.mask[i] = Math.exp(slot.logits[i] - highest);
    for (const { mask, pixels } of slots) {
      mask[i] /= total;
      for (let c = 0; c < channels; c++) {
        reconstruction[i * channels + c] += mask[i] * pixels[i * channels + c];
      }
    }
  }
}

// Measures what a slot shows beside other slots: [x, y, size, colour], the centre and the root of the
// share of pixels that it is seen in, from 0 to 1. A pixel weighs as the square of the change of its
// colour by the slot.
function measure({ logits, pixels }, others) {
  let [total, x, y, seen] = [0, 0, 0, 0];
  const color = new Float64Array(channels);
  const without = new Float64Array(channels);
  for (let i = 0; i < numPixels; i++) {
    let highest = -Infinity;
    for (const other of others) highest = Math.max(highest, other.logits[i]);
    let norm = 0;
    without.fill(0);
    for (const other of others) {
      const share = Math.exp(other.logits[i] - highest);
      norm += share;
      for (let c = 0; c < channels; c++) without[c] += share * other.pixels[i * channels + c];
    }
    const mask = 1 / (1 + norm * Math.exp(highest - logits[i]));
    let weight = 0;
    for (let c = 0; c < channels; c++) {
      weight += (mask * (pixels[i * channels + c] - without[c] / norm)) ** 2;
    }
    total += weight;
    x += weight * ((i % width) + 0.5);
    y += weight * (Math.floor(i / width) + 0.5);
    for (let c = 0; c < channels; c++) color[c] += weight * pixels[i * channels + c];
    if (weight > SEEN ** 2) seen += 1;
  }
  const scale = 1 / (total + 1e-9);
  const size = Math.sqrt(seen / numPixels);
  return [(x * scale) / width, (y * scale) / height, size, ...color.map((c) => c * scale)];
}

const isObject = ([, , size]) => size ** 2 > 0.003 && size ** 2 < 0.5;

// What a slot is measured beside: the slots that show no object, so that nothing hides it; all
// others where there are no such.
function surroundings(of, slot) {
  const others = visibleSlots(of).filter((other) => other !== slot);
  const empty = others.filter((other) =>
    !isObject(measure(other, visibleSlots(of).filter((each) => each !== other))));
  return empty.length ? empty : others;
}

// Where a slot's object is in its scene, in pixels.
function centre(of, slot) {
  const [x, y] = measure(slot, surroundings(of, slot));
  return { x: x * width, y: y * height };
}

// ------------------------------------------------------------------ moving an object

const readout = ({ w, b }, z) => w.reduce((sum, weight, i) => sum + weight * z[i], b);

// Begins to move a slot's object, if it shows one.
function grab(slot, isHeld) {
  if (!canMove || !slot.on || !slot.logits || visibleSlots(scene()).length < 2) return false;
  const around = surroundings(scene(), slot);
  const properties = measure(slot, around);
  if (!isObject(properties)) return false;
  const at = { x: properties[0] * width, y: properties[1] * height };
  drag = {
    slot, isHeld, around, at, goal: at, corrections: 0, best: null, worse: 0,
    directions: readouts.slice(0, 2).map(({ direction }) => direction),
  };
  return true;
}

// Latents beside a slot's, one after the other changed a little, if decoding them takes no time to
// speak of: what becomes of the object then is a read-out fitted to just this slot.
function probes(z, scale) {
  if (z.length * scale ** 2 * numPixels * millisecondsPerPixel > PROBE_MILLISECONDS) return [];
  return Array.from(z, (_, i) => z.map((value, k) => value + (k === i ? PROBE * spread[i] : 0)));
}

// The smallest changes of the latents, in terms of how much they vary, that move the object by a
// pixel to the right and down and leave its size and colour as they are.
function localDirections(properties, probed) {
  const { around } = drag;
  const slopes = probed.map((each, i) => // [Z][properties], times the latents' spread
    measure(each, around).map((value, p) => (value - properties[p]) / PROBE));
  const gram = properties.map((_, p) => properties.map((__, q) =>
    slopes.reduce((sum, slope) => sum + slope[p] * slope[q], 0)
      + (p === q ? (p < 2 ? 1e-4 : 3e-3) : 0))); // Size and colour may give way a little.
  return [width, height].map((size, p) => {
    const wanted = properties.map((_, q) => (q === p ? 1 / size : 0));
    const factors = solve(gram, wanted);
    return slopes.map((slope, i) => spread[i] * slope.reduce((sum, s, q) => sum + s * factors[q], 0));
  });
}

// Solves a·x = b for a symmetric positive matrix a, by elimination.
function solve(a, b) {
  const rows = a.map((row, i) => [...row, b[i]]);
  rows.forEach((row, i) => rows.slice(i + 1).forEach((below) => {
    const factor = below[i] / row[i];
    for (let k = i; k < below.length; k++) below[k] -= factor * row[k];
  }));
  const x = b.map(() => 0);
  for (let i = b.length - 1; i >= 0; i--) {
    const known = x.reduce((sum, value, k) => sum + (k > i ? rows[i][k] * value : 0), 0);
    x[i] = (rows[i][b.length] - known) / rows[i][i];
  }
  return x;
}

function moveTo(x, y) {
  const limit = (value, size) => Math.max(0.5, Math.min(size - 0.5, value));
  const goal = { x: limit(x, width), y: limit(y, height) };
  Object.assign(drag, { goal, corrections: 0, best: null, worse: 0 });
  if (drag.slot.shown === drag.slot.version) step();
}

// Changes the latents by what moves the object's centre to its goal, in steps of some pixels.
function step() {
  const { slot, goal, at, directions } = drag;
  const missing = [goal.x - at.x, goal.y - at.y];
  const longest = MAX_STEP * Math.max(height, width);
  const share = Math.min(1, longest / Math.max(Math.hypot(...missing), 1e-9));
  slot.base = null;
  change(slot, slot.z.map((value, i) =>
    value + share * (missing[0] * directions[0][i] + missing[1] * directions[1][i])));
}

// Looks where the object went, and corrects what is missing.
function follow(probed) {
  const { slot, goal } = drag;
  if (slot.shown !== slot.version || (!drag.isHeld && slot.scale < 1)) return;
  const properties = measure(slot, drag.around);
  drag.at = { x: properties[0] * width, y: properties[1] * height };
  if (probed.length) drag.directions = localDirections(properties, probed);
  const error = Math.hypot(goal.x - drag.at.x, goal.y - drag.at.y);
  if (!drag.best || error < drag.best.error) {
    drag.best = { error, z: slot.z, at: drag.at };
    drag.worse = 0;
  } else {
    drag.worse += 1;
  }
  if (error < CLOSE || drag.corrections >= MAX_CORRECTIONS || drag.worse > 1) {
    if (drag.best.z !== slot.z) {
      drag.at = drag.best.at;
      change(slot, drag.best.z);
      drag.best.z = slot.z;
    }
    if (!drag.isHeld) finishDrag();
    return;
  }
  drag.corrections += 1;
  step();
}

function finishDrag() {
  const { at, slot } = drag;
  drag = null;
  say(`${slot.name} is at ${at.x.toFixed(1)}, ${at.y.toFixed(1)} of ${width} × ${height}.`);
  showSliders();
}

function release() {
  if (!drag) return;
  Object.assign(drag, { isHeld: false, corrections: 0, best: null, worse: 0 });
  element("reconstruction").classList.remove("dragging");
  if (drag.slot.shown === drag.slot.version) follow([]);
  pump();
}

// ------------------------------------------------------------------ drawing

let drawing = false;

const isDecoded = () => scene().slots.every(({ logits }) => logits); // coarsely at least

// Draws the scene once all its slots are decoded.
function redraw() {
  if (drawing || !isDecoded()) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (isDecoded()) draw(); // Another scene may have been chosen in the meantime.
  });
}

const images = new WeakMap(); // of each canvas

// Fills a canvas of the image's size, value(i, c) being pixel i's red, green or blue from 0 to 255.
function paint(canvas, value) {
  if (!images.has(canvas)) {
    Object.assign(canvas, { width, height });
    images.set(canvas, new ImageData(width, height));
  }
  const image = images.get(canvas);
  for (let i = 0; i < numPixels; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = value(i, c);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const gray = channels === 1;
const paintPixels = (canvas, pixels) => paint(canvas, gray
  ? (i) => 255 * pixels[i] : (i, c) => 255 * pixels[3 * i + c]);

function draw() {
  const { slots } = scene();
  compose(scene());
  const lit = slots[pointed];
  const isLit = lit?.on && slots.length > 1 && !drag;
  const light = (i) => (isLit ? 0.25 + 0.75 * lit.mask[i] : 1);
  paint(element("reconstruction"),
    (i, c) => 255 * light(i) * reconstruction[gray ? i : 3 * i + c]);
  paint(element("segmentation"), (i, c) => {
    let sum = 0;
    for (const slot of slots) sum += slot.mask[i] * slot.color[c];
    return light(i) * sum;
  });
  slots.forEach((slot, k) => {
    // While a hand moves one slot, the other tiles may wait.
    if (drag?.isHeld && drag.slot !== slot) return;
    const [component, mask] = element("slots").children[k].querySelectorAll("canvas");
    paintPixels(component, slot.pixels);
    paint(mask, (i) => 255 * slot.mask[i]);
  });
}

function showImage() {
  const image = new Image();
  const shown = scene();
  image.onload = () => {
    if (shown !== scene()) return;
    Object.assign(element("image"), { width, height });
    element("image").getContext("2d").drawImage(image, 0, 0);
  };
  image.src = shown.image;
}

// ------------------------------------------------------------------ what people see and do

const say = (text) => { element("status").textContent = text; };

function create(tag, attributes = {}, ...children) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(...children);
  return made;
}

function showScene(i) {
  drag = null;
  current = i;
  pointed = -1;
  [...element("scenes").children].forEach((button, k) =>
    button.setAttribute("aria-pressed", String(k === i)));
  showImage();
  showSlots();
  showState();
  redraw();
  pump();
}

function showSlots() {
  element("slots").replaceChildren(...scene().slots.map((slot, k) => {
    const button = create("button", { type: "button" },
      create("canvas", { width, height }), create("canvas", { width, height }));
    button.setAttribute("aria-label", `Choose ${slot.name}: its component and its mask`);
    const box = create("input", { type: "checkbox", checked: slot.on });
    const tile = create("div", { className: "slot" }, button, create("label", {}, box, slot.name));
    tile.style.setProperty("--color", `rgb(${slot.color.join()})`);
    button.onclick = () => select(k);
    box.onchange = () => switchSlot(k, box.checked);
    button.onpointerenter = button.onfocus = () => point(k);
    button.onpointerleave = button.onblur = () => point(-1);
    return tile;
  }));
  select(Math.min(scene().selected, scene().slots.length - 1));
}

function point(k) {
  if (pointed === k) return;
  pointed = k;
  redraw();
}

function select(k) {
  scene().selected = k;
  [...element("slots").children].forEach((tile, i) => {
    tile.classList.toggle("selected", i === k);
    tile.classList.toggle("off", !scene().slots[i].on);
    tile.querySelector("button").setAttribute("aria-pressed", String(i === k));
    tile.querySelector("input").checked = scene().slots[i].on;
  });
  element("panel-title").textContent = selected().name;
  showSliders();
}

function switchSlot(k, on) {
  scene().slots[k].on = on;
  select(k);
  redraw();
  say(`${scene().slots[k].name} is ${on ? "on" : "off"}.`);
}

// A labelled slider; show() puts it to what value() says.
function slider(id, label, [low, high], value, input, format) {
  const range = create("input", { id, type: "range", min: low, max: high, step: "any" });
  const output = create("output");
  const field = create("div", { className: "field" },
    create("label", { htmlFor: id }, label), output, range);
  range.step = (high - low) / 200;
  range.oninput = () => {
    input(Number(range.value));
    output.textContent = format(Number(range.value));
  };
  const show = () => {
    range.value = value();
    output.textContent = format(value());
  };
  return { field, show };
}

const sliders = [
  ...readouts.map((property, i) => slider(
    `property-${i}`, property.name, property.range, () => readout(property, selected().z),
    (value) => {
      const difference = value - readout(property, selected().z);
      edit(selected().z.map((z, k) => z + difference * property.direction[k]));
    },
    (value) => value.toFixed(i < 3 ? 1 : 2),
  )),
  ...content.sliders.map(({ latent, kl, range }) => slider(
    `latent-${latent}`, `z${latent + 1}${kl === null ? "" : ` · ${kl} nats`}`, range,
    () => selected().z[latent],
    (value) => edit(selected().z.map((z, k) => (k === latent ? value : z))),
    (value) => value.toFixed(2),
  )),
];

function showSliders() {
  sliders.forEach(({ show }) => show());
  if (!selected().base) setBlend(0);
}

// Changes the selected slot by hand.
function edit(z) {
  drag = null;
  selected().base = null;
  change(selected(), z);
  showSliders();
}

function setBlend(share) {
  element("blend").value = share;
  element("blend-value").textContent = `${Math.round(100 * share)} %`;
}

function copy() {
  clipboard = { z: selected().z, name: `${selected().name} of ${scene().title}` };
  element("clipboard").hidden = false;
  element("copied-name").textContent = clipboard.name;
  const slot = selected();
  paintPixels(element("copied"), slot.pixels || reconstruction);
  element("paste").disabled = false;
  showAdd();
  setBlend(0);
  say(`Copied ${clipboard.name}. Choose a scene and a slot, and paste it there.`);
}

function showAdd() {
  element("add").disabled = !clipboard || scene().slots.length >= content.slots + MAX_ADDED;
}

function addSlot() {
  const { slots } = scene();
  slots.push(newSlot(clipboard.z, `Slot ${slots.length + 1}`, slots.length));
  scene().selected = slots.length - 1;
  showSlots();
  showAdd();
  pump();
  say(`Added ${clipboard.name} as ${selected().name}.`);
}

function blend(share) {
  const slot = selected();
  slot.base = slot.base || slot.z;
  change(slot, slot.base.map((z, i) => z + share * (clipboard.z[i] - z)));
  setBlend(share);
  showSliders();
}

function normal() { // Box and Muller
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}

const drawn = () => prior.mean.map((mean, i) => mean + prior.std[i] * normal());

function showState() {
  const { state } = scene();
  element("state").value = state;
  element("state-value").textContent = state === 0 ? "first guess" : `after ${state} of ${content.states - 1}`;
  showAdd();
}

// Puts the scene's own slots to what they were after so many refinements.
function setState(state) {
  drag = null;
  const of = scene();
  of.state = state;
  of.slots.slice(0, content.slots).forEach((slot, k) => {
    slot.base = null;
    change(slot, stateOf(current, state, k));
  });
  showState();
  showSliders();
}

function resetScene() {
  const of = scene();
  of.slots.length = content.slots;
  of.slots.forEach((slot) => { slot.on = true; });
  of.selected = Math.min(of.selected, content.slots - 1);
  setState(content.states - 1);
  showScene(current);
  say(`${of.title} is as it was.`);
}

function resetSlot() {
  const k = scene().selected;
  const slot = selected();
  slot.on = true;
  edit(k < content.slots ? stateOf(current, scene().state, k) : clipboard.z);
  switchSlot(k, true);
}

let playing = 0; // timer

function stopPlaying() {
  clearInterval(playing);
  playing = 0;
  element("play").textContent = "Play";
}

function play() {
  if (playing) {
    stopPlaying();
    return;
  }
  element("play").textContent = "Stop";
  setState(0);
  const of = scene();
  playing = setInterval(() => {
    if (of !== scene() || of.state + 1 >= content.states) stopPlaying();
    else setState(of.state + 1);
  }, 700);
}

function save() {
  const scale = Math.max(1, Math.ceil(512 / Math.max(height, width)));
  const large = create("canvas", { width: scale * width, height: scale * height });
  const context = large.getContext("2d");
  context.imageSmoothingEnabled = !document.body.classList.contains("pixelated");
  const plain = create("canvas");
  paintPixels(plain, reconstruction);
  context.drawImage(plain, 0, 0, large.width, large.height);
  large.toBlob((blob) => {
    const href = URL.createObjectURL(blob);
    create("a", { href, download: `${content.name}-${scene().title}.png` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  });
}

// ------------------------------------------------------------------ pointer and keyboard

// Where a pointer is, in pixels of the image.
function position({ clientX, clientY, target }) {
  const box = target.getBoundingClientRect();
  return {
    x: ((clientX - box.left) / box.width) * width,
    y: ((clientY - box.top) / box.height) * height,
  };
}

// The slot whose mask is the largest at a place.
function slotAt({ x, y }) {
  const inside = (value, size) => Math.max(0, Math.min(size - 1, Math.floor(value)));
  const i = inside(y, height) * width + inside(x, width);
  const masks = scene().slots.map((slot) => slot.mask[i]);
  return masks.indexOf(Math.max(...masks));
}

function listenToPointer() {
  const canvas = element("reconstruction");
  let offset = null; // from the hand to the object's centre
  canvas.onpointerdown = (event) => {
    if (content.slots === 1 || event.button) return;
    const at = position(event);
    select(slotAt(at));
    if (!grab(selected(), true)) return;
    offset = { x: drag.at.x - at.x, y: drag.at.y - at.y };
    canvas.setPointerCapture(event.pointerId);
    canvas.classList.add("dragging");
    redraw();
  };
  canvas.onpointermove = (event) => {
    const at = position(event);
    if (drag?.isHeld) moveTo(at.x + offset.x, at.y + offset.y);
    else if (content.slots > 1 && event.pointerType === "mouse") point(slotAt(at));
  };
  canvas.onpointerup = canvas.onpointercancel = release;
  canvas.onpointerleave = () => point(-1);
  element("segmentation").onpointermove = (event) => point(slotAt(position(event)));
  element("segmentation").onpointerleave = () => point(-1);
  element("segmentation").onclick = (event) => select(slotAt(position(event)));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { slots } = scene();
  const digit = Number(event.key);
  if (digit >= 1 && digit <= slots.length) {
    select(digit - 1);
  } else if (event.key === " " && content.slots > 1) {
    switchSlot(scene().selected, !selected().on);
  } else if (ARROWS[event.key]) {
    const [x, y] = ARROWS[event.key].map((v) => v * (event.shiftKey ? 5 : 1));
    if (drag?.slot !== selected() && !grab(selected(), false)) return;
    moveTo(drag.goal.x + x, drag.goal.y + y);
  } else {
    return;
  }
  event.preventDefault();
}

// ------------------------------------------------------------------ beginning

function begin() {
  const { name, kind, slots, states } = content;
  document.title = `Play with the slots of ${name}`;
  element("name").textContent = name;
  element("about").textContent = slots > 1
    ? `${kind} takes an image apart into ${slots} slots of ${numLatents} numbers each. All you see `
      + "here is decoded from these numbers, in your browser."
    : `${kind} describes a whole image by ${numLatents} numbers. All you see here is decoded from `
      + "these numbers, in your browser.";
  document.body.classList.toggle("pixelated", Math.max(height, width) < 100);
  document.body.classList.toggle("still", !canMove);
  element("legend").open = window.innerWidth > 960;
  const without = {
    ".many": slots === 1, ".movable": !canMove, ".prior": !prior, ".steps": states === 1,
  };
  for (const [parts, hidden] of Object.entries(without)) {
    document.querySelectorAll(parts).forEach((part) => { part.hidden = hidden; });
  }
  element("reconstruction").setAttribute("aria-label", canMove
    ? "Reconstruction. Digits choose a slot, arrow keys move it, space switches it off and on."
    : "Reconstruction. Digits choose a slot, space switches it off and on.");
  element("scenes").append(...scenes.map(({ title, image }, i) => {
    const button = create("button", { type: "button", onclick: () => showScene(i) },
      create("img", { src: image, alt: title }));
    return button;
  }));
  element("properties").append(...sliders.slice(0, readouts.length).map(({ field }) => field));
  element("latents").append(...sliders.slice(readouts.length).map(({ field }) => field));
  element("single").open = !canMove;
  element("single-note").textContent = content.sliders[0].kl === null
    ? "Those that vary most from slot to slot." : "Those with the highest KL divergence.";
  element("state").max = states - 1;
  element("state").oninput = () => setState(Number(element("state").value));
  element("blend").oninput = () => blend(Number(element("blend").value));
  const clicks = {
    play, save, copy, add: addSlot, reset: resetSlot, "reset-all": resetScene,
    paste: () => edit(clipboard.z), draw: () => edit(drawn()),
    "draw-all": () => {
      scene().slots.forEach((slot) => { slot.base = null; change(slot, drawn()); });
      showSliders();
    },
  };
  for (const [id, action] of Object.entries(clicks)) element(id).onclick = action;
  listenToPointer();
  element("reconstruction").onkeydown = onKey;
  showScene(0);
}

begin();
