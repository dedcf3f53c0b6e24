"use strict";

// Draws the whole world and what the agent sees, both from minigrid's own tiles.

/** Each tile as a picture of its own: scaled straight from a sheet, a tile's edge takes colour from its neighbour.
 * @typedef {HTMLCanvasElement[]} Tiles */

const HEADINGS = [[1, 0], [0, 1], [-1, 0], [0, -1]];
const COLORS = [["Rd", "red"], ["Gn", "green"], ["Bu", "blue"], ["Pu", "purple"], ["Ye", "yellow"], ["Gy", "grey"]];
const FIRST_OBJECT = 5, FIRST_DOOR = 23, AGENT = 41;
const TRAIL = 60;

/** Cut a sheet of tiles apart. @param {{source: string, tile: number, count: number}} sheet @param {number} columns @returns {Promise<Tiles>} */
async function loadTiles(sheet, columns) {
  const image = new Image();
  image.src = sheet.source;
  await image.decode();
  return Array.from({ length: sheet.count }, (_, code) => {
    const tile = document.createElement("canvas");
    tile.width = tile.height = sheet.tile;
    const left = (code % columns) * sheet.tile, top = Math.floor(code / columns) * sheet.tile;
    const ctx = /** @type {CanvasRenderingContext2D} */ (tile.getContext("2d"));
    ctx.drawImage(image, left, top, sheet.tile, sheet.tile, 0, 0, sheet.tile, sheet.tile);
    return tile;
  });
}

/** Match a canvas to its size on screen, in device pixels. @param {HTMLCanvasElement} canvas @param {number} ratio height / width */
function fitCanvas(canvas, ratio) {
  canvas.style.aspectRatio = `${1 / ratio}`;
  const width = Math.max(1, Math.round(canvas.clientWidth * (window.devicePixelRatio || 1)));
  const height = Math.round(width * ratio);
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/** Draw code at cell (x, y) of cells of the given size; edges are rounded so that no seam shows.
 * @param {CanvasRenderingContext2D} ctx @param {Tiles} tiles @param {number} code @param {number} x @param {number} y @param {number} cell */
function drawTile(ctx, tiles, code, x, y, cell) {
  const left = Math.round(x * cell), top = Math.round(y * cell);
  const width = Math.round((x + 1) * cell) - left, height = Math.round((y + 1) * cell) - top;
  ctx.drawImage(tiles[code], left, top, width, height);
}

/** Colour of the object or door that a tile shows, as an index; -1: it has none. @param {number} code */
function colorOf(code) {
  if (code > AGENT) return colorOf(code - AGENT + FIRST_OBJECT - 1);
  if (code === AGENT || code < FIRST_OBJECT) return -1;
  return code < FIRST_DOOR ? (code - FIRST_OBJECT) % 6 : Math.floor((code - FIRST_DOOR) / 3);
}

/** Two letters for an object's colour, on a plate in the cell's corner.
 * @param {CanvasRenderingContext2D} ctx @param {number} code @param {number} x @param {number} y @param {number} cell */
function drawLetters(ctx, code, x, y, cell) {
  const color = colorOf(code);
  if (color < 0) return;
  const size = Math.max(8, cell * 0.27);
  ctx.font = `600 ${size}px system-ui, sans-serif`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  const width = size * 1.5, height = size * 1.15;
  const left = (x + 1) * cell - width - cell * 0.04, top = (y + 1) * cell - height - cell * 0.04;
  ctx.fillStyle = "rgba(0, 0, 0, 0.78)";
  ctx.beginPath();
  ctx.roundRect(left, top, width, height, size * 0.25);
  ctx.fill();
  ctx.fillStyle = "#fff";
  ctx.fillText(COLORS[color][0], left + width / 2, top + height / 2 + size * 0.04);
}

/** The world cell that view cell (i, j) shows at time t. @param {Episode} episode @param {number} t @param {number} i @param {number} j */
function worldCell(episode, t, i, j) {
  const [dx, dy] = HEADINGS[episode.direction[t]];
  const ahead = 6 - j, aside = i - 3;
  return [episode.position[2 * t] + dx * ahead - dy * aside, episode.position[2 * t + 1] + dy * ahead + dx * aside];
}

/** @param {HTMLCanvasElement} canvas @param {Episode} episode @param {number} t @param {Tiles} tiles @param {boolean} letters */
function drawWorld(canvas, episode, t, tiles, letters) {
  const ctx = fitCanvas(canvas, episode.height / episode.width);
  const cell = canvas.width / episode.width;
  const grid = gridAt(episode, t);
  ctx.imageSmoothingQuality = "high";
  grid.forEach((code, index) => {
    drawTile(ctx, tiles, code, Math.floor(index / episode.height), index % episode.height, cell);
  });
  lightSeenCells(ctx, episode, t, cell);
  drawPath(ctx, episode, t, cell);
  drawAgent(ctx, episode, t, cell);
  if (!letters) return;
  grid.forEach((code, index) => {
    drawLetters(ctx, code, Math.floor(index / episode.height), index % episode.height, cell);
  });
}

/** As minigrid does: what the agent sees is lit by 30 % of white; a dashed frame shows how far it could see.
 * @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {number} t @param {number} cell */
function lightSeenCells(ctx, episode, t, cell) {
  ctx.fillStyle = "rgba(255, 255, 255, 0.3)";
  for (let index = 0; index < 49; index += 1) {
    const i = Math.floor(index / 7), j = index % 7;
    if (viewAt(episode, t, i, j) === 0) continue;
    const [x, y] = worldCell(episode, t, i, j);
    const left = Math.round(x * cell), top = Math.round(y * cell);
    ctx.fillRect(left, top, Math.round((x + 1) * cell) - left, Math.round((y + 1) * cell) - top);
  }
  const [ax, ay] = worldCell(episode, t, 0, 0), [bx, by] = worldCell(episode, t, 6, 6);
  ctx.strokeStyle = "rgba(255, 255, 255, 0.75)";
  ctx.lineWidth = Math.max(1, cell * 0.03);
  ctx.setLineDash([cell * 0.14, cell * 0.12]);
  ctx.strokeRect(Math.min(ax, bx) * cell, Math.min(ay, by) * cell, 7 * cell, 7 * cell);
  ctx.setLineDash([]);
}

/** The agent's last steps, and a dot where it began. @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {number} t @param {number} cell */
function drawPath(ctx, episode, t, cell) {
  ctx.strokeStyle = "rgba(255, 255, 255, 0.6)";
  ctx.fillStyle = "rgba(255, 255, 255, 0.75)";
  ctx.lineWidth = Math.max(1, cell * 0.05);
  ctx.lineJoin = "round";
  ctx.beginPath();
  for (let s = Math.max(0, t - TRAIL); s <= t; s += 1) {
    ctx.lineTo((episode.position[2 * s] + 0.5) * cell, (episode.position[2 * s + 1] + 0.5) * cell);
  }
  ctx.stroke();
  ctx.beginPath();
  ctx.arc((episode.position[0] + 0.5) * cell, (episode.position[1] + 0.5) * cell, cell * 0.09, 0, 2 * Math.PI);
  ctx.fill();
}

/** minigrid's red triangle, with a white edge so that it stands out on every tile.
 * @param {CanvasRenderingContext2D} ctx @param {Episode} episode @param {number} t @param {number} cell */
function drawAgent(ctx, episode, t, cell) {
  ctx.save();
  ctx.translate((episode.position[2 * t] + 0.5) * cell, (episode.position[2 * t + 1] + 0.5) * cell);
  ctx.rotate(episode.direction[t] * Math.PI / 2);
  ctx.beginPath();
  ctx.moveTo(-0.38 * cell, -0.31 * cell);
  ctx.lineTo(0.37 * cell, 0);
  ctx.lineTo(-0.38 * cell, 0.31 * cell);
  ctx.closePath();
  ctx.fillStyle = "#ff0000";
  ctx.fill();
  ctx.lineWidth = Math.max(1.5, cell * 0.05);
  ctx.lineJoin = "round";
  ctx.strokeStyle = "#fff";
  ctx.stroke();
  ctx.restore();
}

/** The 7x7 view, as people draw it or in the very pixels that the agent gets, shaded by attention if it is given.
 * @param {HTMLCanvasElement} canvas @param {Episode} episode @param {number} t @param {Tiles} tiles @param {boolean} letters @param {boolean} smooth @param {Float32Array | null} weights */
function drawView(canvas, episode, t, tiles, letters, smooth, weights) {
  const ctx = fitCanvas(canvas, 1);
  const cell = canvas.width / 7;
  ctx.imageSmoothingEnabled = smooth;
  ctx.imageSmoothingQuality = "high";
  for (let index = 0; index < 49; index += 1) {
    const i = Math.floor(index / 7), j = index % 7;
    const code = viewAt(episode, t, i, j);
    drawTile(ctx, tiles, code, i, j, cell);
    if (letters) drawLetters(ctx, code, i, j, cell);
  }
  if (weights) shadeView(ctx, relative(weights), cell);
}
