"use strict";

// The tracks of one episode: value and rewards, advantages, a raster of the active modules, actions.

const ACTION_GLYPHS = ["↰", "↱", "↑", "⊓", "⊔", "⊙", "✓"];
const VALUE_HEIGHT = 96, ADVANTAGE_HEIGHT = 44, ROW_HEIGHT = 18, ACTION_HEIGHT = 20, AXIS_HEIGHT = 20;

/** Height of all tracks of an episode. @param {Episode} episode */
function tracksHeight(episode) {
  const advantages = hasAdvantages(episode) ? ADVANTAGE_HEIGHT + PAD : 0;
  return VALUE_HEIGHT + advantages + episode.modules * ROW_HEIGHT + ACTION_HEIGHT + AXIS_HEIGHT + 3 * PAD;
}

/** @param {HTMLCanvasElement} canvas @param {Episode[]} episodes @param {number} current @param {number} t @param {[number, number]} range @returns {TimeAxis} */
function drawTracks(canvas, episodes, current, t, range) {
  const colors = readColors(), episode = episodes[current];
  const axis = timeAxis(canvas.clientWidth, episode.steps + 1, 84);
  const height = tracksHeight(episode), bottom = height - AXIS_HEIGHT;
  const now = axis.left + t * axis.column;
  drawStrip(canvas, height, `${current}`, (ctx) => {
    const advantageTop = VALUE_HEIGHT + 2 * PAD;
    const rasterTop = advantageTop + (hasAdvantages(episode) ? ADVANTAGE_HEIGHT + PAD : 0);
    drawValueTrack(ctx, episode, axis, PAD, range, colors);
    if (hasAdvantages(episode)) drawAdvantages(ctx, episode, axis, advantageTop, colors);
    drawRaster(ctx, episode, axis, rasterTop, colors);
    drawActions(ctx, episode, axis, rasterTop + episode.modules * ROW_HEIGHT + (episode.modules ? PAD / 2 : 0), colors);
    drawTimeAxis(ctx, axis, bottom, colors);
  }, (ctx) => {
    ctx.fillStyle = colors.soft;
    ctx.fillRect(now, PAD / 2, Math.max(axis.column, 2), bottom - PAD / 2);
  }, (ctx) => {
    ctx.strokeStyle = colors.ink;
    if (axis.column < 14) line(ctx, now + axis.column / 2, PAD / 2, now + axis.column / 2, bottom);
  });
  return axis;
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

/** @param {Episode} episode */
function hasAdvantages(episode) {
  return episode.advantages.some((advantage) => advantage !== null);
}

/** A bar per step from zero, up where the action was better than expected; hollow where it was worse.
 * @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {TimeAxis} axis @param {number} top @param {Colors} colors */
function drawAdvantages(ctx, episode, axis, top, colors) {
  const most = Math.max(1e-6, ...episode.advantages.map((advantage) => Math.abs(advantage ?? 0)));
  const middle = top + ADVANTAGE_HEIGHT / 2, scale = (ADVANTAGE_HEIGHT / 2 - 2) / most;
  gutter(ctx, "advantage", axis.left - 6, middle, colors.ink);
  gutter(ctx, `±${shortNumber(most)}`, axis.left - 6, middle + 14, colors.muted);
  ctx.strokeStyle = colors.line;
  ctx.lineWidth = 1;
  line(ctx, axis.left, middle, axis.left + episode.steps * axis.column, middle);
  const wide = Math.max(1, axis.column * 0.6);
  ctx.fillStyle = ctx.strokeStyle = colors.accent;
  episode.advantages.forEach((advantage, t) => {
    if (!advantage) return;
    const x = axis.left + (t + 0.5) * axis.column - wide / 2, tall = Math.abs(advantage) * scale;
    if (advantage > 0) ctx.fillRect(x, middle - tall, wide, tall);
    else if (wide > 4) ctx.strokeRect(x + 0.5, middle + 0.5, wide - 1, tall);
    else ctx.fillRect(x, middle, wide, tall);
  });
}

/** A row per module: solid where it is active, a thin bar where inactive; the height is its attention to the input.
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

/** Step numbers, as far apart as their width needs; none is cut off at the right edge. @param {CanvasRenderingContext2D} ctx @param {TimeAxis} axis @param {number} top @param {Colors} colors */
function drawTimeAxis(ctx, axis, top, colors) {
  const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((step) => step * axis.column >= 34) ?? 2000;
  gutter(ctx, "step", axis.left - 6, top + AXIS_HEIGHT / 2, colors.muted);
  ctx.textAlign = "center";
  const right = axis.left + axis.count * axis.column + PAD;
  for (let t = 0; t < axis.count; t += every) {
    const x = axis.left + (t + 0.5) * axis.column;
    if (x + ctx.measureText(`${t}`).width / 2 <= right) ctx.fillText(`${t}`, x, top + AXIS_HEIGHT / 2);
  }
}
