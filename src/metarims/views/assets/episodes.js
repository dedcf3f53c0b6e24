"use strict";

// Reads the packed episodes of the page (packing.py writes them) into typed arrays.

/**
 * One episode: T steps, T + 1 states, M modules (0: none), A actions to choose from.
 * @typedef {object} Episode
 * @property {string} label          who played it
 * @property {string} env
 * @property {string} mission        at the beginning
 * @property {[number, string][]} missions  [t, mission from then on] for each change
 * @property {string} backend        "jax" or "farama"
 * @property {number} seed
 * @property {number} steps          T
 * @property {number} width
 * @property {number} height
 * @property {number} modules        M
 * @property {number} choices        A
 * @property {Uint8Array} grid       first state, [x * height + y]
 * @property {number[][]} changes    [t, cell, code] in order of time
 * @property {Uint8Array} position   [T + 1, 2]
 * @property {Uint8Array} direction  [T + 1]: 0 right, 1 down, 2 left, 3 up
 * @property {Uint8Array} view       [T + 1, 7, 7], x first
 * @property {Uint8Array} actions    [T]
 * @property {(number | null)[]} rewards  [T]
 * @property {(number | null)[]} values   [T]
 * @property {Float32Array} policy   [T, A]
 * @property {Uint8Array} active     [T, M]
 * @property {Float32Array} input    [T, M]
 * @property {Float32Array} communication  [T, M, M], receiver first
 * @property {number} elements     E of the input: 49 cells, then the mission; 0: the input is one vector
 * @property {Float32Array} attention  [T, M, E]
 * @property {(number | null)[]} advantages  [T]
 * @property {boolean} terminated
 * @property {boolean} truncated
 */

/** @param {string} text @returns {Uint8Array} */
function decodeBytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Fractions of 255 (one byte each) or of 65535 (two, little-endian). @param {string} text @param {1 | 2} width */
function decodeFractions(text, width) {
  const bytes = decodeBytes(text);
  const numbers = new Float32Array(bytes.length / width);
  for (let i = 0; i < numbers.length; i += 1) {
    numbers[i] = width === 1 ? bytes[i] / 255 : (bytes[2 * i] + 256 * bytes[2 * i + 1]) / 65535;
  }
  return numbers;
}

/** @param {any} packed @returns {Episode} */
function readEpisode(packed) {
  const bytes = ["grid", "position", "direction", "view", "actions", "active"];
  const decoded = Object.fromEntries(bytes.map((name) => [name, decodeBytes(packed[name])]));
  return {
    ...packed,
    ...decoded,
    policy: decodeFractions(packed.policy, 2),
    input: decodeFractions(packed.input, 1),
    communication: decodeFractions(packed.communication, 1),
    attention: decodeFractions(packed.attention, 2),
  };
}

/** The world's tiles at time t. @param {Episode} episode @param {number} t */
function gridAt(episode, t) {
  const grid = episode.grid.slice();
  for (const [time, cell, code] of episode.changes) {
    if (time > t) break;
    grid[cell] = code;
  }
  return grid;
}

/** Code of view cell (i, j) at time t; the agent stands at (3, 6) and looks towards j = 0.
 * @param {Episode} episode @param {number} t @param {number} i @param {number} j */
function viewAt(episode, t, i, j) {
  return episode.view[49 * t + 7 * i + j];
}

/** Sum of the rewards that are numbers. @param {Episode} episode */
function episodeReturn(episode) {
  return episode.rewards.reduce((/** @type {number} */ sum, reward) => sum + (reward ?? 0), 0);
}

/** An episode that ended by itself with a reward. @param {Episode} episode */
function succeeded(episode) {
  return episode.terminated && (episode.rewards[episode.steps - 1] ?? 0) > 0;
}
