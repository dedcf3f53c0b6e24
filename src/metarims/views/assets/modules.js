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

/** One card per module. @param {HTMLElement} box @param {number} count */
function buildModules(box, count) {
  box.replaceChildren();
  for (let m = 0; m < count; m += 1) {
    const card = element("div", "module");
    card.append(element("span", "module-name", `${m}`), element("span", "module-state"));
    card.append(bar("module-input"), element("span", "module-number"));
    box.append(card);
  }
}

/** @param {HTMLElement} box @param {Episode} episode @param {number} t */
function showModules(box, episode, t) {
  const over = t >= episode.steps;
  [...box.children].forEach((card, m) => {
    const active = !over && episode.active[t * episode.modules + m] === 1;
    const attention = over ? 0 : episode.input[t * episode.modules + m];
    card.classList.toggle("active", active);
    card.children[1].textContent = over ? "over" : active ? "active" : "inactive";
    setBar(card.children[2], attention);
    card.children[3].textContent = over ? "–" : attention.toFixed(2);
  });
}

/** A square table of attention weights: receiver in rows, sender in columns. @param {HTMLElement} table @param {number} count */
function buildCommunication(table, count) {
  table.replaceChildren();
  const head = element("tr");
  head.append(element("td"));
  for (let m = 0; m < count; m += 1) head.append(element("th", "", `${m}`));
  table.append(head);
  for (let m = 0; m < count; m += 1) {
    const row = element("tr");
    row.append(element("th", "", `${m}`));
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
      cell.textContent = inactive ? "" : weight.toFixed(2).slice(weight > 0.994 ? 0 : 1);
      cell.style.setProperty("--weight", inactive ? "0" : weight.toFixed(3));
      cell.classList.toggle("strong", !inactive && weight > 0.5);
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
