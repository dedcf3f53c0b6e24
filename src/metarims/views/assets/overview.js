"use strict";

// The value over all episodes, one after the other.

const OVERVIEW_HEIGHT = 64;

/** Value over all episodes, one after the other; a mark at each end says how it ended.
 * @param {HTMLCanvasElement} canvas @param {Episode[]} episodes @param {number} current @param {number} t @param {[number, number]} range @returns {TimeAxis} */
function drawOverview(canvas, episodes, current, t, range) {
  const colors = readColors();
  const axis = timeAxis(canvas.clientWidth, episodes.reduce((sum, episode) => sum + episode.steps + 1, 0), 84);
  const before = episodes.slice(0, current).reduce((sum, episode) => sum + episode.steps + 1, 0);
  const left = axis.left + before * axis.column, now = left + (t + 0.5) * axis.column;
  drawStrip(canvas, OVERVIEW_HEIGHT, "all", (ctx) => {
    drawAllValues(ctx, episodes, axis, range, colors);
  }, (ctx) => {
    ctx.fillStyle = colors.soft;
    ctx.fillRect(left, 0, (episodes[current].steps + 1) * axis.column, OVERVIEW_HEIGHT);
  }, (ctx) => {
    ctx.strokeStyle = colors.ink;
    line(ctx, now, 0, now, OVERVIEW_HEIGHT);
  });
  return axis;
}

/** @param {CanvasRenderingContext2D} ctx @param {Episode[]} episodes @param {TimeAxis} axis @param {[number, number]} range @param {Colors} colors */
function drawAllValues(ctx, episodes, axis, range, colors) {
  const [low, high] = range;
  const y = (/** @type {number} */ value) => 16 + (OVERVIEW_HEIGHT - 22) * (high - value) / (high - low);
  gutter(ctx, "value", axis.left - 40, y((low + high) / 2), colors.ink);
  gutter(ctx, shortNumber(high), axis.left - 6, y(high), colors.muted);
  gutter(ctx, shortNumber(low), axis.left - 6, y(low), colors.muted);
  let left = axis.left;
  for (const episode of episodes) {
    const start = left;
    left += (episode.steps + 1) * axis.column;
    ctx.strokeStyle = colors.line;
    ctx.lineWidth = 1;
    line(ctx, left, 0, left, OVERVIEW_HEIGHT);
    drawCurve(ctx, episode, (t) => start + (t + 0.5) * axis.column, y, colors, false);
    drawEnding(ctx, episode, left, colors);
  }
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
