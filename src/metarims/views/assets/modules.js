"use strict";

// Shows what goes on inside the agent at one step: modules, their attention, and the policy.

/** A new element with a class and, if given, a text. Texts go in as text, never as markup.
 * @param {string} tag @param {string} [name] @param {string} [text] */
function element(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

/** A bar from 0 to 1 with its number. @param {string} name */
function bar(name) {
  const track = element("div", `bar ${name}`);
  track.append(element("div", "bar-fill"));
  return track;
}

/** @param {Element} track @param {number} fraction */
function setBar(track, fraction) {
  /** @type {HTMLElement} */ (track.firstElementChild).style.width = `${(100 * fraction).toFixed(1)}%`;
}

/** One card per module; where the input is a set it shows the attention to it, and choosing it shows that large.
 * @param {HTMLElement} box @param {Episode} episode @param {(module: number) => void} choose */
function buildModules(box, episode, choose) {
  box.replaceChildren();
  for (let m = 0; m < episode.modules; m += 1) {
    const card = element(episode.elements ? "button" : "div", "module");
    card.append(element("span", "module-name", `${m + 1}`), element("span", "module-state"));
    card.append(bar("module-input"), element("span", "module-number"));
    if (episode.elements) {
      const picture = element("canvas", "module-view");
      picture.setAttribute("role", "img");
      card.append(picture);
      card.onclick = () => choose(m);
    }
    box.append(card);
  }
}

/** @param {HTMLElement} box @param {Episode} episode @param {number} t @param {number} chosen module @param {Tiles} tiles */
function showModules(box, episode, t, chosen, tiles) {
  const over = t >= episode.steps;
  [...box.children].forEach((card, m) => {
    const active = !over && episode.active[t * episode.modules + m] === 1;
    const attention = over ? 0 : episode.input[t * episode.modules + m];
    card.classList.toggle("active", active);
    card.children[1].textContent = over ? "over" : active ? "active" : "inactive";
    setBar(card.children[2], attention);
    card.children[3].textContent = over ? "–" : attention.toFixed(2);
    if (!episode.elements) return;
    card.setAttribute("aria-pressed", `${m === chosen}`);
    const picture = /** @type {HTMLCanvasElement} */ (card.children[4]);
    drawThumbnail(picture, episode, t, m, tiles);
    picture.setAttribute("aria-label", `Attention of module ${m + 1} to the view and the mission`);
  });
}

/** How far a weight is from 1 / count, on a logarithmic scale: 1 for all attention, 0 for an equal share, down to -1.
 * @param {number} weight @param {number} count */
function excess(weight, count) {
  if (count < 2) return 0;
  return Math.max(-1, Math.log(Math.max(weight, 1e-6) * count) / Math.log(count));
}

/** A square table of attention weights: receiver in rows, sender in columns. @param {HTMLElement} table @param {number} count */
function buildCommunication(table, count) {
  table.replaceChildren();
  const head = element("tr");
  head.append(element("td"));
  for (let m = 0; m < count; m += 1) head.append(element("th", "", `${m + 1}`));
  table.append(head);
  for (let m = 0; m < count; m += 1) {
    const row = element("tr");
    row.append(element("th", "", `${m + 1}`));
    for (let n = 0; n < count; n += 1) row.append(element("td", "communication-cell"));
    table.append(row);
  }
}

/** @param {HTMLElement} table @param {Episode} episode @param {number} t */
function showCommunication(table, episode, t) {
  const count = episode.modules;
  const over = t >= episode.steps;
  table.querySelectorAll("tr").forEach((row, index) => {
    const receiver = index - 1;
    if (receiver < 0) return;
    const inactive = over || episode.active[t * count + receiver] === 0;
    row.classList.toggle("inactive", inactive);
    row.querySelectorAll("td").forEach((cell, sender) => {
      const weight = over ? 0 : episode.communication[(t * count + receiver) * count + sender];
      const number = weight.toFixed(2);
      cell.textContent = inactive ? "" : number.slice(weight > 0.994 ? 0 : 1);
      const more = inactive || number === (1 / count).toFixed(2) ? 0 : excess(weight, count);
      cell.style.setProperty("--weight", Math.abs(more).toFixed(3));
      cell.classList.toggle("more", more > 0);
      cell.classList.toggle("less", more < 0);
    });
  });
}

/** One line per action. @param {HTMLElement} box @param {string[]} names */
function buildPolicy(box, names) {
  box.replaceChildren();
  for (const name of names) {
    const line = element("div", "choice");
    line.append(element("span", "choice-name", name), bar("choice-bar"), element("span", "choice-number"));
    box.append(line);
  }
}

/** @param {HTMLElement} box @param {Episode} episode @param {number} t */
function showPolicy(box, episode, t) {
  const over = t >= episode.steps;
  [...box.children].forEach((line, action) => {
    const probability = over ? 0 : episode.policy[t * episode.choices + action];
    line.classList.toggle("chosen", !over && episode.actions[t] === action);
    setBar(line.children[1], probability);
    line.children[2].textContent = over ? "–" : `${Math.round(100 * probability)} %`;
  });
}
