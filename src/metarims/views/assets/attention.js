"use strict";

// Where modules attend in a set of elements: the 49 cells of the view, then the mission (as one, or word by word).

const CELLS = 49;
const SHADE = 0.82;

/** Attention to every element at time t: of one module, or (-1) the mean over the active ones.
 * @param {Episode} episode @param {number} t @param {number} module @returns {Float32Array} */
function elementWeights(episode, t, module) {
  const { elements, modules } = episode;
  const weights = new Float32Array(elements);
  if (t >= episode.steps) return weights;
  const chosen = Array.from({ length: modules }, (_, m) => m)
    .filter((m) => (module < 0 ? episode.active[t * modules + m] === 1 : m === module));
  for (const m of chosen) {
    const start = (t * modules + m) * elements;
    for (let e = 0; e < elements; e += 1) weights[e] += episode.attention[start + e] / chosen.length;
  }
  return weights;
}

/** Each weight as a fraction of the largest. @param {Float32Array} weights @returns {Float32Array} */
function relative(weights) {
  const most = weights.reduce((a, b) => Math.max(a, b), 0);
  return most > 0 ? weights.map((weight) => weight / most) : weights;
}

/** Darken the cells of a view by how little they are attended to; the one attended to most stays as it is.
 * @param {CanvasRenderingContext2D} ctx @param {Float32Array} shares relative weights @param {number} cell */
function shadeView(ctx, shares, cell) {
  for (let index = 0; index < CELLS; index += 1) {
    const left = Math.round(Math.floor(index / 7) * cell), top = Math.round((index % 7) * cell);
    ctx.fillStyle = `rgba(0, 0, 0, ${SHADE * (1 - shares[index])})`;
    ctx.fillRect(left, top, Math.round((Math.floor(index / 7) + 1) * cell) - left, Math.round((index % 7 + 1) * cell) - top);
  }
  const peak = shares.subarray(0, CELLS).indexOf(1);
  if (peak < 0) return;
  ctx.strokeStyle = "#fff";
  ctx.lineWidth = Math.max(1, cell * 0.06);
  const inset = ctx.lineWidth / 2;
  ctx.strokeRect(Math.floor(peak / 7) * cell + inset, (peak % 7) * cell + inset, cell - 2 * inset, cell - 2 * inset);
}

/** One module's attention, small: the view, and below it a bar per element of the mission.
 * @param {HTMLCanvasElement} canvas @param {Episode} episode @param {number} t @param {number} module @param {Tiles} tiles */
function drawThumbnail(canvas, episode, t, module, tiles) {
  const words = episode.elements - CELLS;
  const ctx = fitCanvas(canvas, words > 0 ? 8 / 7 : 1);
  const cell = canvas.width / 7;
  const shares = relative(elementWeights(episode, t, module));
  ctx.clearRect(0, 0, canvas.width, canvas.height);
  for (let index = 0; index < CELLS; index += 1) {
    drawTile(ctx, tiles, viewAt(episode, t, Math.floor(index / 7), index % 7), Math.floor(index / 7), index % 7, cell);
  }
  shadeView(ctx, shares, cell);
  for (let word = 0; word < words; word += 1) {
    const left = Math.round(word * canvas.width / words), right = Math.round((word + 1) * canvas.width / words);
    const tall = Math.round(cell * 0.8 * shares[CELLS + word]);
    ctx.fillStyle = "rgba(128, 128, 128, 0.45)";
    ctx.fillRect(left, canvas.height - 1, right - left - 1, 1);
    ctx.fillStyle = getComputedStyle(canvas).color;
    ctx.fillRect(left, canvas.height - tall, right - left - 1, tall);
  }
}

/** The mission's words, each shaded by the attention to it; as one where it is one element.
 * @param {HTMLElement} box @param {string} mission @param {Episode} episode @param {number} t @param {number} module */
function showMission(box, mission, episode, t, module) {
  const words = episode.elements - CELLS;
  if (!mission || words < 1) {
    box.textContent = mission ? `“${mission}”` : "No mission";
    return;
  }
  const weights = elementWeights(episode, t, module), shares = relative(weights);
  const parts = words === 1 ? [mission] : mission.split(/([\s,]+)/);
  box.replaceChildren("“");
  parts.forEach((part, index) => {
    const place = CELLS + index / 2;
    if (index % 2 === 1 || place >= episode.elements) return box.append(part);
    const word = element("span", "mission-word", part);
    word.style.setProperty("--weight", shares[place].toFixed(3));
    word.title = `attention ${weights[place].toFixed(3)}`;
    return box.append(word);
  });
  box.append("”");
}
