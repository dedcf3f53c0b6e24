"use strict";

// Strips in which time runs to the right: their canvas, their axis, and what both kinds of strip draw.

/** @typedef {{ink: string, muted: string, line: string, accent: string, mark: string, panel: string, soft: string}} Colors */
/** @typedef {{left: number, column: number, count: number}} TimeAxis */

const PAD = 8;

/** The page's colours, which differ between light and dark. @returns {Colors} */
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const get = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: get("ink"), muted: get("muted"), line: get("line"), accent: get("accent"),
    mark: get("mark"), panel: get("panel"), soft: get("soft"),
  };
}

/** A canvas of a height in CSS pixels, scaled for the screen and empty. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
function fitStrip(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  ctx.scale(scale, scale);
  ctx.font = "12px system-ui, sans-serif";
  return ctx;
}

/** What does not change from step to step, kept for each strip: a long episode takes a while to draw.
 * @type {WeakMap<HTMLCanvasElement, {key: string, layer: HTMLCanvasElement}>} */
const kept = new WeakMap();

/** Draw a strip: first what moves with time and lies below, then the kept layer, then what lies above.
 * @param {HTMLCanvasElement} canvas @param {number} height @param {string} name of what is kept
 * @param {(ctx: CanvasRenderingContext2D) => void} still @param {(ctx: CanvasRenderingContext2D) => void} below @param {(ctx: CanvasRenderingContext2D) => void} above */
function drawStrip(canvas, height, name, still, below, above) {
  canvas.style.height = `${height}px`;
  const width = Math.max(1, canvas.clientWidth);
  const key = [name, width, height, window.devicePixelRatio, readColors().ink].join();
  if (kept.get(canvas)?.key !== key) {
    const layer = document.createElement("canvas");
    still(fitStrip(layer, width, height));
    kept.set(canvas, { key, layer });
  }
  const ctx = fitStrip(canvas, width, height);
  below(ctx);
  ctx.drawImage(/** @type {any} */ (kept.get(canvas)).layer, 0, 0, width, height);
  above(ctx);
}

/** @param {number} width @param {number} count columns, one per state @param {number} widest @returns {TimeAxis} */
function timeAxis(width, count, widest) {
  const left = width < 600 ? 72 : 92;
  return { left, column: Math.min(widest, (width - left - PAD) / count), count };
}

/** The state under a horizontal place. @param {TimeAxis} axis @param {number} x */
function timeUnder(axis, x) {
  return Math.max(0, Math.min(axis.count - 1, Math.floor((x - axis.left) / axis.column)));
}

/** Lowest and highest of all values and rewards, zero included. @param {Episode[]} episodes @returns {[number, number]} */
function valueRange(episodes) {
  let low = 0, high = 0;
  for (const episode of episodes) {
    for (const value of [...episode.values, ...episode.rewards]) {
      low = Math.min(low, value ?? 0);
      high = Math.max(high, value ?? 0);
    }
  }
  return [low, high > low ? high : low + 1];
}

/** @param {CanvasRenderingContext2D} ctx @param {number} x0 @param {number} y0 @param {number} x1 @param {number} y1 */
function line(ctx, x0, y0, x1, y1) {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

/** A name in the gutter. @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} right @param {number} y @param {string} color */
function gutter(ctx, text, right, y, color) {
  ctx.fillStyle = color;
  ctx.textAlign = "right";
  ctx.textBaseline = "middle";
  ctx.fillText(text, right, y);
}

/** The value as a line that breaks where it is unknown; dots where there is room.
 * @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {(t: number) => number} x @param {(value: number) => number} y @param {Colors} colors @param {boolean} dots */
function drawCurve(ctx, episode, x, y, colors, dots) {
  ctx.strokeStyle = ctx.fillStyle = colors.accent;
  ctx.lineWidth = 1.75;
  ctx.lineJoin = "round";
  ctx.beginPath();
  let broken = true;
  episode.values.forEach((value, t) => {
    if (value === null) broken = true;
    else if (broken) { ctx.moveTo(x(t), y(value)); broken = false; }
    else ctx.lineTo(x(t), y(value));
  });
  ctx.stroke();
  if (!dots) return;
  episode.values.forEach((value, t) => {
    if (value === null) return;
    ctx.beginPath();
    ctx.arc(x(t), y(value), 2.5, 0, 2 * Math.PI);
    ctx.fill();
  });
}

/** A reward: a diamond, hollow where it is negative. @param {CanvasRenderingContext2D} ctx @param {number} x @param {number} y @param {number} reward @param {Colors} colors */
function drawReward(ctx, x, y, reward, colors) {
  ctx.beginPath();
  ctx.moveTo(x, y - 5);
  ctx.lineTo(x + 5, y);
  ctx.lineTo(x, y + 5);
  ctx.lineTo(x - 5, y);
  ctx.closePath();
  ctx.fillStyle = reward > 0 ? colors.mark : colors.panel;
  ctx.strokeStyle = colors.mark;
  ctx.lineWidth = 1.5;
  ctx.fill();
  ctx.stroke();
}

/** @param {number} value */
function shortNumber(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toFixed(2)));
}
