"use strict";

// The decoder of a model, from one slot to its pixels and its mask's logits, at any image size.
// It runs in a Web Worker. `description` and `weights` are what iodine/evaluate/explore_decoder.py
// writes; images are stored row by row, the channels of a pixel side by side.

// ------------------------------------------------------------------ the kernel, in WebAssembly

const LANES = 8; // Output channels that the kernel computes together: two vectors of four.
const PIXELS = 4; // Adjacent pixels that it computes together.

function unsigned(value) { // LEB128
  const bytes = [];
  do {
    const more = value > 127;
    bytes.push((value & 127) | (more ? 128 : 0));
    value >>>= 7;
  } while (value);
  return bytes;
}

const vector = (bytes) => [...unsigned(bytes.length), ...bytes];
const section = (id, bytes) => [id, ...vector(bytes)];

const I32 = 0x7f;
const V128 = 0x7b;
const get = (local) => [0x20, ...unsigned(local)];
const set = (local) => [0x21, ...unsigned(local)];
const number = (value) => [0x41, ...(value < 64 ? [value] : [(value & 127) | 128, value >> 7])];
const add = (a, b) => [...a, ...b, 0x6a];
const subtract = (a, b) => [...a, ...b, 0x6b];
const times = (a, b) => [...a, ...b, 0x6c];
const simd = (code, ...rest) => [0xfd, ...unsigned(code), ...rest];
const loadVector = (address, offset) => [...address, ...simd(0x00, 4 - 2, ...unsigned(offset))];
const loadSplat = (address) => [...address, ...simd(0x09, 2, 0)];
const storeVector = (address, value, offset) => [
  ...address, ...value, ...simd(0x0b, 2, ...unsigned(offset)),
];
const addVectors = (a, b) => [...a, ...b, ...simd(228)];
const timesVectors = (a, b) => [...a, ...b, ...simd(230)];

// A loop whose body runs at least once and again as long as `local` is below `end`.
const repeat = (local, end, body) => [
  0x03, 0x40, ...body, ...get(local), ...end, 0x49, 0x0d, 0x00, 0x0b,
];

// Assembles correlate(out, image, weights, bias, rows, columns, row, pixel, span, kernelRows,
// blocks), all addresses and sizes of `row`, `pixel` and `span` in bytes:
//   out[y, x, o] = bias[o] + sum over k, i of image[y + k, x, i] * weights[k, i, o]
// where i runs over the `span` of all channels of a kernel's row of pixels, which lie side by side.
// Columns are at least PIXELS; the last group of pixels may overlap the one before.
function assembleKernel() {
  const names = [
    "out", "image", "weights", "bias", "rows", "columns", "row", "pixel", "span", "kernelRows",
    "blocks", "block", "y", "start", "x", "k", "p", "q", "end", "target", "w0", "w1", "a",
  ];
  const local = Object.fromEntries(names.map((name, i) => [name, i]));
  const at = (name) => get(local[name]);
  const assign = (name, value) => [...value, ...set(local[name])];
  const accumulator = (i, half) => names.length + 2 * i + half;
  const each = (body) => Array.from({ length: PIXELS }, (_, i) => body(i)).flat();
  const address = (i) => { // of pixel i's input
    let bytes = at("p");
    for (let j = 0; j < i; j++) bytes = add(bytes, at("pixel"));
    return bytes;
  };
  const step = [
    ...loadVector(at("q"), 0), ...set(local.w0),
    ...loadVector(at("q"), 16), ...set(local.w1),
    ...each((i) => [
      ...loadSplat(address(i)), ...set(local.a),
      ...[0, 1].flatMap((half) => [
        ...addVectors(get(accumulator(i, half)), timesVectors(at("a"), at(half ? "w1" : "w0"))),
        ...set(accumulator(i, half)),
      ]),
    ]),
    ...assign("p", add(at("p"), number(4))),
    ...assign("q", add(at("q"), number(4 * LANES))),
  ];
  const outPixel = times(at("blocks"), number(4 * LANES));
  const pixels = [
    // x = min(start, columns - PIXELS)
    ...at("start"), ...subtract(at("columns"), number(PIXELS)),
    ...at("start"), ...subtract(at("columns"), number(PIXELS)), 0x49, 0x1b, ...set(local.x),
    ...each((i) => [0, 1].flatMap((half) => [
      ...loadVector(add(at("bias"), times(at("block"), number(4 * LANES))), 16 * half),
      ...set(accumulator(i, half)),
    ])),
    ...assign("k", number(0)),
    ...repeat(local.k, at("kernelRows"), [
      ...assign("p", add(add(at("image"), times(add(at("y"), at("k")), at("row"))),
        times(at("x"), at("pixel")))),
      ...assign("end", add(at("p"), at("span"))),
      ...repeat(local.p, at("end"), step),
      ...assign("k", add(at("k"), number(1))),
    ]),
    ...assign("target", add(add(at("out"), times(at("block"), number(4 * LANES))),
      times(add(times(at("y"), at("columns")), at("x")), outPixel))),
    ...each((i) => [
      ...storeVector(at("target"), get(accumulator(i, 0)), 0),
      ...storeVector(at("target"), get(accumulator(i, 1)), 16),
      ...assign("target", add(at("target"), outPixel)),
    ]),
    ...assign("start", add(at("start"), number(PIXELS))),
  ];
  // The weights of a block lie side by side, [k, i, LANES].
  const blockBytes = times(times(at("kernelRows"), at("span")), number(LANES));
  const code = [
    ...assign("block", number(0)),
    ...repeat(local.block, at("blocks"), [
      ...assign("y", number(0)),
      ...repeat(local.y, at("rows"), [
        ...assign("start", number(0)),
        ...repeat(local.start, at("columns"), [
          ...assign("q", add(at("weights"), times(at("block"), blockBytes))),
          ...pixels,
        ]),
        ...assign("y", add(at("y"), number(1))),
      ]),
      ...assign("block", add(at("block"), number(1))),
    ]),
  ];
  const parameters = 11;
  const integers = local.w0 - parameters;
  const vectors = names.length - local.w0 + 2 * PIXELS;
  const locals = [2, ...unsigned(integers), I32, ...unsigned(vectors), V128];
  const text = (name) => vector([...name].map((letter) => letter.charCodeAt(0)));
  return new Uint8Array([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, [1, 0x60, ...vector(Array(parameters).fill(I32)), 0]),
    ...section(2, [1, ...text("js"), ...text("memory"), 2, 0, 1]),
    ...section(3, [1, 0]),
    ...section(7, [1, ...text("correlate"), 0, 0]),
    ...section(10, [1, ...vector([...locals, ...code, 0x0b])]),
  ]);
}

// ------------------------------------------------------------------ layers

// Each puts activated values into a place.
const ACTIVATIONS = {
  elu(values, offset, count, target, start) {
    for (let c = 0; c < count; c++) {
      const x = values[offset + c];
      target[start + c] = x < 0 ? Math.exp(x) - 1 : x;
    }
  },
  relu(values, offset, count, target, start) {
    for (let c = 0; c < count; c++) target[start + c] = Math.max(0, values[offset + c]);
  },
  identity(values, offset, count, target, start) {
    for (let c = 0; c < count; c++) target[start + c] = values[offset + c];
  },
};

const MEANS = { identity: (x) => x, sigmoid: (x) => 1 / (1 + Math.exp(-x)) };

// From -1 to 1 in equal steps.
function axis(length, from = -1, to = 1) {
  return Float32Array.from({ length }, (_, i) =>
    length > 1 ? from + ((to - from) * i) / (length - 1) : from);
}

// The taps of a kernel along one axis that an output position sees, for each phase of a stride:
// offsets of the input pixels from the position divided by the stride, and the taps they meet.
function phases(kernel, layer) {
  if (!layer.transposed) {
    const before = layer.padding === "SAME" ? (kernel - 1) >> 1 : 0;
    return [{ first: -before, taps: Array.from({ length: kernel }, (_, i) => i) }];
  }
  const before = Math.max(kernel - layer.stride, 0) >> 1;
  return Array.from({ length: layer.stride }, (_, phase) => {
    const taps = [];
    for (let tap = kernel - 1; tap >= 0; tap--) {
      if ((phase + before - tap) % layer.stride === 0) taps.push(tap);
    }
    return { first: (phase + before - taps[0]) / layer.stride, taps };
  });
}

// Size of a layer's input along one axis, given its output's.
function sizeBefore(size, kernel, layer) {
  if (layer.transposed) return Math.ceil(size / layer.stride);
  return layer.padding === "SAME" ? size : size + kernel - 1;
}

class Decoder {
  constructor(description, weights) {
    this.description = description;
    this.activation = ACTIVATIONS[description.activation];
    this.memory = new WebAssembly.Memory({ initial: 16 });
    this.free = 16; // next address
    const module = new WebAssembly.Module(assembleKernel());
    const imports = { js: { memory: this.memory } };
    this.correlate = new WebAssembly.Instance(module, imports).exports.correlate;
    let position = 0;
    const take = (count) => weights.subarray(position, (position += count));
    if (description.coordinates.type === "position") {
      const { channels } = description.coordinates;
      this.position = { w: take(4 * channels), b: take(channels) };
    }
    this.layers = description.layers.map((layer) => {
      const w = take(layer.kernel[0] * layer.kernel[1] * layer.inputs * layer.outputs);
      const padded = LANES * Math.ceil(layer.outputs / LANES);
      const bias = this.store(new Float32Array(padded));
      this.view(bias, padded).set(take(layer.outputs));
      return { ...layer, w, bias, padded };
    });
    const [first, ...others] = this.layers;
    // The vector's part of a first convolution is computed in closed form, see `decodeFirst`.
    first.isClosed = !first.transposed;
    const numVector = description.n_z + description.constant.length;
    const from = first.isClosed && !description.sum ? numVector : 0;
    first.parts = this.pack(first, from);
    for (const layer of others) layer.parts = this.pack(layer, 0);
    this.firstBuffers = this.free;
    this.buffers = new Map();
  }

  view(address, length) {
    return new Float32Array(this.memory.buffer, address, length);
  }

  allocate(length) {
    const address = this.free;
    this.free += 4 * length + ((-4 * length) & 15);
    const missing = this.free - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / 65536));
    return address;
  }

  store(values) {
    const address = this.allocate(values.length);
    this.view(address, values.length).set(values);
    return address;
  }

  // Stores the weights of a layer's inputs from `from` on, for each phase of its stride.
  pack(layer, from) {
    const [height, width] = layer.kernel;
    const { inputs, outputs, padded } = layer;
    const count = inputs - from;
    const parts = [];
    phases(height, layer).forEach((rows, phaseY) => phases(width, layer).forEach((columns, phaseX) => {
      const span = columns.taps.length * count;
      const packed = new Float32Array(rows.taps.length * span * padded);
      rows.taps.forEach((ky, a) => columns.taps.forEach((kx, b) => {
        for (let i = 0; i < count; i++) {
          const source = ((ky * width + kx) * inputs + from + i) * outputs;
          for (let o = 0; o < outputs; o += LANES) {
            const place = ((o / LANES * rows.taps.length + a) * span + b * count + i) * LANES;
            const end = Math.min(LANES, outputs - o);
            for (let c = 0; c < end; c++) packed[place + c] = layer.w[source + o + c];
          }
        }
      }));
      parts.push({
        phaseY, phaseX, span, kernelRows: rows.taps.length,
        top: rows.first, left: columns.first,
        bottom: rows.first + rows.taps.length - 1, right: columns.first + columns.taps.length - 1,
        weights: count ? this.store(packed) : 0,
      });
    }));
    return parts;
  }

  // What decoding at a size needs: each layer's sizes and buffers, and the coordinates' part.
  prepare(height, width) {
    const key = `${height}x${width}`;
    if (this.buffers.has(key)) return this.buffers.get(key);
    let size = [height, width];
    const sizes = [size];
    for (const layer of [...this.layers].reverse()) {
      size = size.map((length, i) => sizeBefore(length, layer.kernel[i], layer));
      sizes.unshift(size);
    }
    const coordinates = this.coordinates(...size);
    const inputs = this.layers.map((layer, i) => {
      const channels = i || !layer.isClosed || this.description.sum
        ? layer.inputs : coordinates.length / (size[0] * size[1]);
      return this.buffer(sizes[i], channels, layer.parts);
    });
    const lengths = this.layers.map((layer, i) =>
      sizes[i + 1][0] * Math.max(sizes[i + 1][1], PIXELS) * layer.padded);
    const prepared = { sizes, inputs, out: this.allocate(Math.max(...lengths)), coordinates };
    if (this.layers[0].isClosed) prepared.constant = this.constantPart(prepared);
    this.buffers.set(key, prepared);
    return prepared;
  }

  // An image with a border of zeros as wide as a layer's kernel reaches.
  buffer([height, width], channels, parts) {
    const most = (name, sign) => Math.max(0, ...parts.map((part) => sign * part[name]));
    const top = most("top", -1);
    const left = most("left", -1);
    const rows = top + height + most("bottom", 1);
    const columns = left + Math.max(width, PIXELS) + most("right", 1);
    const length = rows * columns * channels;
    return { address: this.allocate(length), length, top, left, rows, columns, channels };
  }

  coordinates(height, width) {
    const { type, freqs, channels } = this.description.coordinates;
    const values = [];
    if (type === "linear") {
      const [y, x] = [axis(height), axis(width)];
      y.forEach((v) => x.forEach((u) => values.push(v, u)));
    } else if (type === "cos") {
      const [y, x] = [height, width].map((length) => axis(length, 0, Math.PI));
      y.forEach((v) => x.forEach((u) => {
        for (let a = 0; a < freqs; a++) {
          for (let b = 0; b < freqs; b++) if (a + b) values.push(Math.cos(a * u) * Math.cos(b * v));
        }
      }));
    } else if (type === "position") {
      const { w, b } = this.position;
      const [y, x] = [axis(height, 0, 1), axis(width, 0, 1)];
      y.forEach((v) => x.forEach((u) => [u, v, 1 - u, 1 - v].reduce(
        (sum, place, i) => sum.map((s, c) => s + place * w[i * channels + c]), Array.from(b),
      ).forEach((value) => values.push(value))));
    }
    return Float32Array.from(values);
  }

  // Writes an image into a layer's input buffer.
  fill(buffer, [height, width], image) {
    const target = this.view(buffer.address, buffer.length);
    const length = width * buffer.channels;
    for (let y = 0; y < height; y++) {
      const start = ((y + buffer.top) * buffer.columns + buffer.left) * buffer.channels;
      target.set(image.subarray(y * length, (y + 1) * length), start);
    }
  }

  // Runs a layer on its input buffer and hands each pixel to write(y, x, values, offset in them).
  run(layer, prepared, i, write) {
    const buffer = prepared.inputs[i];
    const [height, width] = prepared.sizes[i + 1];
    const stride = layer.transposed ? layer.stride : 1;
    for (const part of layer.parts) {
      const rows = Math.ceil((height - part.phaseY) / stride);
      const columns = Math.ceil((width - part.phaseX) / stride);
      if (rows < 1 || columns < 1) continue;
      const stored = Math.max(columns, PIXELS);
      const first = (buffer.top + part.top) * buffer.columns + buffer.left + part.left;
      this.correlate(
        prepared.out, buffer.address + 4 * first * buffer.channels, part.weights, layer.bias,
        rows, stored, 4 * buffer.columns * buffer.channels, 4 * buffer.channels, 4 * part.span,
        part.kernelRows, layer.padded / LANES,
      );
      const values = this.view(prepared.out, rows * stored * layer.padded);
      for (let y = 0; y < rows; y++) {
        for (let x = 0; x < columns; x++) {
          write(y * stride + part.phaseY, x * stride + part.phaseX, values,
            (y * stored + x) * layer.padded);
        }
      }
    }
  }

  // What the coordinates and the bias add to the first layer's output.
  constantPart(prepared) {
    const [layer] = this.layers;
    const [height, width] = prepared.sizes[1];
    const { outputs } = layer;
    const constant = new Float32Array(height * width * outputs);
    if (!prepared.coordinates.length) {
      const bias = this.view(layer.bias, outputs);
      for (let i = 0; i < height * width; i++) constant.set(bias, i * outputs);
      return constant;
    }
    this.fill(prepared.inputs[0], prepared.sizes[0], prepared.coordinates);
    this.run(layer, prepared, 0, (y, x, values, offset) => {
      constant.set(values.subarray(offset, offset + outputs), (y * width + x) * outputs);
    });
    return constant;
  }

  // Returns write(y, x, values, offset) that activates a pixel and puts it into a layer's input.
  activated(buffer) {
    const target = this.view(buffer.address, buffer.length);
    const { activation } = this;
    const { columns, channels, top, left } = buffer;
    return (y, x, values, offset) => {
      activation(values, offset, channels, target, ((y + top) * columns + x + left) * channels);
    };
  }

  // The first layer. One and the same vector lies at every pixel, so a tap of the kernel adds the
  // same product wherever it lies inside the image, and pixels differ only in which taps do.
  decodeFirst(vectors, prepared, write) {
    const [layer] = this.layers;
    const { inputs, outputs, w } = layer;
    const [kernelRows, kernelColumns] = layer.kernel;
    const products = new Float32Array(kernelRows * kernelColumns * outputs);
    for (let tap = 0; tap < kernelRows * kernelColumns; tap++) {
      for (let i = 0; i < vectors.length; i++) {
        const source = (tap * inputs + i) * outputs;
        for (let o = 0; o < outputs; o++) products[tap * outputs + o] += vectors[i] * w[source + o];
      }
    }
    const { top, left } = layer.parts[0];
    const [inHeight, inWidth] = prepared.sizes[0];
    const [height, width] = prepared.sizes[1];
    const inside = (i, kernel, first, size) =>
      [Math.max(0, -(i + first)), Math.min(kernel, size - (i + first))];
    const sums = new Map(); // {taps inside: sum of their products}
    const values = new Float32Array(outputs);
    for (let y = 0; y < height; y++) {
      const [a0, a1] = inside(y, kernelRows, top, inHeight);
      for (let x = 0; x < width; x++) {
        const [b0, b1] = inside(x, kernelColumns, left, inWidth);
        const key = ((a0 * 64 + a1) * 64 + b0) * 64 + b1;
        let sum = sums.get(key);
        if (!sum) {
          sums.set(key, sum = new Float32Array(outputs));
          for (let a = a0; a < a1; a++) {
            for (let b = b0; b < b1; b++) {
              const tap = (a * kernelColumns + b) * outputs;
              for (let o = 0; o < outputs; o++) sum[o] += products[tap + o];
            }
          }
        }
        const start = (y * width + x) * outputs;
        for (let o = 0; o < outputs; o++) values[o] = sum[o] + prepared.constant[start + o];
        write(y, x, values, 0);
      }
    }
  }

  // Decodes a slot z, of length n_z, to an image of a size.
  // Returns {logits: Float32Array [H, W], pixels: Float32Array [H, W, C], the pixels' means}.
  decode(z, height, width) {
    const { description, layers } = this;
    const prepared = this.prepare(height, width);
    const vectors = Float32Array.from([...z, ...description.constant]);
    const logits = new Float32Array(height * width);
    const { channels, first_pixel: firstPixel, mean: [factor, offset] } = description;
    const pixels = new Float32Array(height * width * channels);
    const mean = MEANS[description.mean_function];
    const finish = (y, x, values, start) => {
      const place = y * width + x;
      if (description.logit >= 0) logits[place] = values[start + description.logit];
      for (let c = 0; c < channels; c++) {
        pixels[place * channels + c] = factor * mean(values[start + firstPixel + c]) + offset;
      }
    };
    const write = (i) => (i + 1 < layers.length ? this.activated(prepared.inputs[i + 1]) : finish);
    if (layers[0].isClosed) {
      this.decodeFirst(vectors, prepared, write(0));
    } else {
      const image = prepared.coordinates.map((value, i) => value + vectors[i % vectors.length]);
      this.fill(prepared.inputs[0], prepared.sizes[0], image);
      this.run(layers[0], prepared, 0, write(0));
    }
    for (let i = 1; i < layers.length; i++) this.run(layers[i], prepared, i, write(i));
    return { logits, pixels };
  }
}

// ------------------------------------------------------------------ the worker

// Messages are first {description, weights}, then {latents: list of slots z, height, width}, and each
// of the latter is answered by {decoded: what `decode` returns of each, height, width,
// milliseconds}.
let decoder = null;
self.onmessage = ({ data }) => {
  if (data.description) {
    decoder = new Decoder(data.description, data.weights);
    return;
  }
  const { latents, height, width } = data;
  const start = performance.now();
  const decoded = latents.map((z) => decoder.decode(z, height, width));
  const milliseconds = performance.now() - start;
  const buffers = decoded.flatMap(({ logits, pixels }) => [logits.buffer, pixels.buffer]);
  self.postMessage({ decoded, height, width, milliseconds }, buffers);
};
