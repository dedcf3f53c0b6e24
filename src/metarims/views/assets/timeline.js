"use strict";

// Time runs to the right: the tracks of one episode, and the value over all episodes.

/** @typedef {{ink: string, muted: string, line: string, accent: string, mark: string, panel: string, soft: string}} Colors */
/** @typedef {{left: number, column: number, count: number}} TimeAxis */

const ACTION_GLYPHS = ["↰", "↱", "↑", "⊓", "⊔", "⊙", "✓"];
const VALUE_HEIGHT = 96, ROW_HEIGHT = 18, ACTION_HEIGHT = 20, AXIS_HEIGHT = 20, OVERVIEW_HEIGHT = 64, PAD = 8;

/** The page's colours, which differ between light and dark. @returns {Colors} */
function readColors() {
  const style = getComputedStyle(document.documentElement);
  const get = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ink: get("ink"), muted: get("muted"), line: get("line"), accent: get("accent"),
    mark: get("mark"), panel: get("panel"), soft: get("soft"),
  };
}

/** A canvas of a height in CSS pixels, scaled for the screen. @param {HTMLCanvasElement} canvas @param {number} height */
function fitStrip(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.max(1, canvas.clientWidth);
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  ctx.scale(scale, scale);
  ctx.clearRect(0, 0, width, height);
  ctx.font = "12px system-ui, sans-serif";
  return { ctx, width };
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

/** Height of all tracks of an episode. @param {Episode} episode */
function tracksHeight(episode) {
  return VALUE_HEIGHT + episode.modules * ROW_HEIGHT + ACTION_HEIGHT + AXIS_HEIGHT + 3 * PAD;
}

/** @param {HTMLCanvasElement} canvas @param {Episode} episode @param {number} t @param {[number, number]} range @returns {TimeAxis} */
function drawTracks(canvas, episode, t, range) {
  const colors = readColors();
  const { ctx, width } = fitStrip(canvas, tracksHeight(episode));
  const axis = timeAxis(width, episode.steps + 1, 84);
  let top = PAD;
  const bottom = tracksHeight(episode) - AXIS_HEIGHT;
  ctx.fillStyle = colors.soft;
  ctx.fillRect(axis.left + t * axis.column, PAD / 2, Math.max(axis.column, 2), bottom - PAD / 2);
  drawValueTrack(ctx, episode, axis, top, range, colors);
  top += VALUE_HEIGHT + PAD;
  drawRaster(ctx, episode, axis, top, colors);
  top += episode.modules * ROW_HEIGHT + (episode.modules ? PAD / 2 : 0);
  drawActions(ctx, episode, axis, top, colors);
  drawTimeAxis(ctx, axis, bottom, colors);
  if (axis.column < 14) {
    ctx.strokeStyle = colors.ink;
    ctx.lineWidth = 1;
    line(ctx, axis.left + (t + 0.5) * axis.column, PAD / 2, axis.left + (t + 0.5) * axis.column, bottom);
  }
  return axis;
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

/** @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {TimeAxis} axis @param {number} top @param {[number, number]} range @param {Colors} colors */
function drawValueTrack(ctx, episode, axis, top, range, colors) {
  const [low, high] = range;
  const y = (/** @type {number} */ value) => top + 6 + (VALUE_HEIGHT - 12) * (high - value) / (high - low);
  const right = axis.left + axis.count * axis.column;
  gutter(ctx, "value", axis.left - 40, top + VALUE_HEIGHT / 2, colors.ink);
  ctx.lineWidth = 1;
  for (const tick of y(low) - y(0) > 14 ? [low, 0, high] : [0, high]) {
    ctx.strokeStyle = colors.line;
    line(ctx, axis.left, y(tick), right, y(tick));
    gutter(ctx, shortNumber(tick), axis.left - 6, y(tick), colors.muted);
  }
  drawCurve(ctx, episode, (t) => axis.left + (t + 0.5) * axis.column, y, colors, axis.column > 7);
  episode.rewards.forEach((reward, t) => {
    if (!reward) return;
    const x = axis.left + (t + 1.5) * axis.column;
    drawReward(ctx, x, y(reward), reward, colors);
    labelReward(ctx, x, y(reward), reward, right, colors);
  });
}

/** The reward's amount, below its mark and inside the track.
 * @param {CanvasRenderingContext2D} ctx @param {number} x @param {number} y @param {number} reward @param {number} right @param {Colors} colors */
function labelReward(ctx, x, y, reward, right, colors) {
  const text = `reward ${shortNumber(reward)}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  ctx.fillStyle = colors.mark;
  ctx.fillText(text, Math.min(x, right - ctx.measureText(text).width / 2), y + 15);
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

/** A row per module: solid where it acts, a hatch where it rests; the height is its attention to the input.
 * @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {TimeAxis} axis @param {number} top @param {Colors} colors */
function drawRaster(ctx, episode, axis, top, colors) {
  const count = episode.modules;
  const gap = axis.column > 6 ? 1 : 0;
  for (let m = 0; m < count; m += 1) {
    const base = top + (m + 1) * ROW_HEIGHT;
    gutter(ctx, `module ${m + 1}`, axis.left - 6, base - ROW_HEIGHT / 2, colors.ink);
    ctx.strokeStyle = colors.line;
    ctx.lineWidth = 1;
    line(ctx, axis.left, base - 0.5, axis.left + episode.steps * axis.column, base - 0.5);
    for (let t = 0; t < episode.steps; t += 1) {
      const active = episode.active[t * count + m] === 1;
      const tall = Math.max(1, (ROW_HEIGHT - 3) * episode.input[t * count + m]);
      const x = axis.left + t * axis.column + gap / 2;
      if (active) {
        ctx.fillStyle = colors.accent;
        ctx.globalAlpha = 0.28;
        ctx.fillRect(x, base - ROW_HEIGHT + 2, axis.column - gap, ROW_HEIGHT - 3);
        ctx.globalAlpha = 1;
        ctx.fillRect(x, base - 1 - tall, axis.column - gap, tall);
      } else {
        ctx.fillStyle = colors.muted;
        ctx.globalAlpha = 0.55;
        ctx.fillRect(x + (axis.column - gap) * 0.35, base - 1 - tall, Math.max(1, (axis.column - gap) * 0.3), tall);
        ctx.globalAlpha = 1;
      }
    }
  }
}

/** @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {TimeAxis} axis @param {number} top @param {Colors} colors */
function drawActions(ctx, episode, axis, top, colors) {
  const middle = top + ACTION_HEIGHT / 2;
  gutter(ctx, "action", axis.left - 6, middle, colors.ink);
  ctx.fillStyle = colors.ink;
  ctx.textAlign = "center";
  for (let t = 0; t < episode.steps; t += 1) {
    const x = axis.left + (t + 0.5) * axis.column;
    if (axis.column >= 9) ctx.fillText(ACTION_GLYPHS[episode.actions[t]] ?? "·", x, middle);
    else ctx.fillRect(x - axis.column / 2, middle + 6 - 2 * episode.actions[t], Math.max(1, axis.column), 2);
  }
}

/** Step numbers, never closer than their width allows. @param {CanvasRenderingContext2D} ctx @param {TimeAxis} axis @param {number} top @param {Colors} colors */
function drawTimeAxis(ctx, axis, top, colors) {
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => step * axis.column >= 34) ?? 2000;
  gutter(ctx, "step", axis.left - 6, top + AXIS_HEIGHT / 2, colors.muted);
  ctx.textAlign = "center";
  for (let t = 0; t < axis.count; t += every) ctx.fillText(`${t}`, axis.left + (t + 0.5) * axis.column, top + AXIS_HEIGHT / 2);
}

/** Value over all episodes, one after the other; a mark at each end says how it ended.
 * @param {HTMLCanvasElement} canvas @param {Episode[]} episodes @param {number} current @param {number} t @param {[number, number]} range @returns {TimeAxis} */
function drawOverview(canvas, episodes, current, t, range) {
  const colors = readColors();
  const { ctx, width } = fitStrip(canvas, OVERVIEW_HEIGHT);
  const axis = timeAxis(width, episodes.reduce((sum, episode) => sum + episode.steps + 1, 0), 24);
  const [low, high] = range;
  const y = (/** @type {number} */ value) => 16 + (OVERVIEW_HEIGHT - 22) * (high - value) / (high - low);
  gutter(ctx, "value", axis.left - 40, y((low + high) / 2), colors.ink);
  gutter(ctx, shortNumber(high), axis.left - 6, y(high), colors.muted);
  gutter(ctx, shortNumber(low), axis.left - 6, y(low), colors.muted);
  let start = 0;
  episodes.forEach((episode, index) => {
    const left = axis.left + start * axis.column, right = left + (episode.steps + 1) * axis.column;
    if (index === current) {
      ctx.fillStyle = colors.soft;
      ctx.fillRect(left, 0, right - left, OVERVIEW_HEIGHT);
    }
    ctx.strokeStyle = colors.line;
    ctx.lineWidth = 1;
    line(ctx, right, 0, right, OVERVIEW_HEIGHT);
    drawCurve(ctx, episode, (s) => left + (s + 0.5) * axis.column, y, colors, false);
    drawEnding(ctx, episode, right, colors);
    if (index === current) {
      ctx.strokeStyle = colors.ink;
      line(ctx, left + (t + 0.5) * axis.column, 0, left + (t + 0.5) * axis.column, OVERVIEW_HEIGHT);
    }
    start += episode.steps + 1;
  });
  return axis;
}

/** A full diamond: success; a hollow one: no success. @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {number} right @param {Colors} colors */
function drawEnding(ctx, episode, right, colors) {
  drawReward(ctx, right - 6, 8, succeeded(episode) ? 1 : -1, colors);
}

/** Which episode and step a place in the overview shows. @param {Episode[]} episodes @param {number} index over all states */
function locate(episodes, index) {
  let e = 0;
  while (e < episodes.length - 1 && index > episodes[e].steps) {
    index -= episodes[e].steps + 1;
    e += 1;
  }
  return { e, t: Math.min(index, episodes[e].steps) };
}

/** @param {number} value */
function shortNumber(value) {
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toFixed(2)));
}
