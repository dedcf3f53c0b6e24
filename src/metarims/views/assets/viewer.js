"use strict";

// The viewer's state (which episode, which step, playing or not) and everything that changes it.

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

const BACKENDS = /** @type {Record<string, string>} */ ({ jax: "JAX environment", farama: "Farama's environment" });

class Viewer {
  /** @param {any} data @param {Record<string, Tiles>} tiles */
  constructor(data, tiles) {
    this.tiles = tiles;
    this.tileNames = /** @type {string[]} */ (data.tileNames);
    this.actionNames = /** @type {string[]} */ (data.actionNames);
    this.episodes = /** @type {Episode[]} */ (data.episodes.map(readEpisode));
    this.range = valueRange(this.episodes);
    this.e = 0;
    this.t = 0;
    /** Episodes that the filters let through. */
    this.shown = this.episodes.map((_, index) => index);
    /** The module whose attention is shown large; -1: the mean over the active ones. */
    this.module = -1;
    this.timer = 0;
    this.linkTimer = 0;
    /** Where time lies in the two strips; set whenever they are drawn. */
    this.trackAxis = this.overviewAxis = { left: 0, column: 1, count: 1 };
  }

  get episode() {
    return this.episodes[this.e];
  }

  get playing() {
    return this.timer !== 0;
  }

  start() {
    const agents = [...new Set(this.episodes.map((episode) => episode.label))];
    byId("agent-select").append(new Option("all agents", "*"), ...agents.map((label) => new Option(label, label)));
    byId("agent-select").hidden = agents.length < 2;
    byId("outcome-select").hidden = this.episodes.length < 2;
    this.listEpisodes();
    byId("overview-panel").hidden = this.episodes.length < 2;
    byId("overview-legend").textContent = "full diamond: success, hollow: none";
    byId("letters-legend").textContent = COLORS.map(([letters, name]) => `${letters}\u00a0${name}`).join(" · ");
    byId("letters").checked = window.matchMedia("(prefers-contrast: more)").matches;
    this.connect();
    if (this.followLink()) this.land();
    else this.show(0, 0);
    byId("viewer").dataset.ready = "true";
  }

  connect() {
    byId("play").onclick = () => this.toggle();
    byId("step-back").onclick = () => this.move(this.e, this.t - 1);
    byId("step-forward").onclick = () => this.move(this.e, this.t + 1);
    byId("previous-episode").onclick = () => this.move(this.neighbour(-1), 0);
    byId("next-episode").onclick = () => this.move(this.neighbour(1), 0);
    byId("agent-select").onchange = byId("outcome-select").onchange = () => this.filter();
    byId("episode-select").onchange = () => this.move(Number(byId("episode-select").value), 0);
    byId("scrub").oninput = () => this.move(this.e, Number(byId("scrub").value));
    byId("letters").onchange = byId("pixels").onchange = byId("attention").onchange = () => this.draw();
    this.dragOn(byId("tracks"), (x) => this.move(this.e, timeUnder(this.trackAxis, x)));
    this.dragOn(byId("overview"), (x) => {
      const place = locate(this.episodes, timeUnder(this.overviewAxis, x));
      this.move(place.e, place.t);
    });
    byId("world").onmousemove = byId("view").onmousemove = (/** @type {MouseEvent} */ event) => this.nameTile(event);
    document.addEventListener("keydown", (event) => this.key(event));
    window.addEventListener("hashchange", () => {
      if (this.followLink()) this.land();
    });
    window.addEventListener("resize", () => this.draw());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** @param {HTMLCanvasElement} canvas @param {(x: number) => void} go */
  dragOn(canvas, go) {
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      go(event.offsetX);
    };
    canvas.onpointermove = (event) => {
      if (event.buttons) go(event.offsetX);
    };
  }

  /** Whether any of the viewer can be seen: elsewhere on a long page keys scroll as always. */
  get onScreen() {
    const box = byId("viewer").getBoundingClientRect();
    return box.bottom > 0 && box.top < window.innerHeight;
  }

  /** Keys work wherever the focus is, except where an element needs them itself. @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.onScreen) return;
    const tag = event.target instanceof Element ? event.target.tagName : "";
    if (tag === "SELECT" || (tag === "BUTTON" && event.key === " ") || (tag === "SUMMARY" && event.key === " ")) return;
    if (tag === "INPUT" && byId("scrub") !== event.target && event.key === " ") return;
    /** @type {Record<string, () => void>} */
    const actions = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.move(this.e, this.t - 1),
      ArrowRight: () => this.move(this.e, this.t + 1),
      Home: () => this.move(this.e, 0),
      End: () => this.move(this.e, this.episode.steps),
      "[": () => this.move(this.neighbour(-1), 0),
      "]": () => this.move(this.neighbour(1), 0),
      o: () => this.move(this.peers[(this.peers.indexOf(this.e) + 1) % this.peers.length], this.t),
      "-": () => this.changeSpeed(-1),
      "+": () => this.changeSpeed(1),
      "=": () => this.changeSpeed(1),
      l: () => byId("letters").click(),
      p: () => byId("pixels").click(),
      a: () => byId("attention").click(),
      m: () => this.choose(this.module + 1),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  /** The menu of the episodes that the filters let through: the agent first. */
  listEpisodes() {
    const agent = byId("agent-select").value, outcome = byId("outcome-select").value;
    this.shown = [...this.episodes.keys()].filter((index) => {
      const episode = this.episodes[index];
      return (agent === "*" || episode.label === agent) && (!outcome || succeeded(episode) === (outcome === "success"));
    });
    const options = this.shown.map((index) => {
      const episode = this.episodes[index];
      const parts = [agent === "*" ? episode.label : "", episode.mission || episode.env, succeeded(episode) ? "✓" : "✗"];
      return new Option([...parts, `${index + 1} of ${this.episodes.length}`].filter(Boolean).join(" · "), `${index}`);
    });
    const none = new Option("no such episode", "");
    none.disabled = true;
    byId("episode-select").replaceChildren(...(options.length ? options : [none]));
  }

  /** After a change of the filters: another agent is shown on the same level if it can be. */
  filter() {
    this.listEpisodes();
    const next = this.shown.find((index) => this.peers.includes(index)) ?? this.shown[0] ?? this.e;
    if (this.shown.includes(this.e) || next === this.e) this.drawHead();
    else this.move(next, 0);
  }

  /** The episode before or after this one among those that the filters let through. @param {number} by */
  neighbour(by) {
    const place = this.shown.indexOf(this.e);
    return this.shown[Math.max(0, Math.min(this.shown.length - 1, place + by))] ?? this.e;
  }

  /** All episodes on the level of this one. */
  get peers() {
    const { env, seed, backend } = this.episode;
    return [...this.episodes.keys()].filter((index) => {
      const other = this.episodes[index];
      return other.env === env && other.seed === seed && other.backend === backend;
    });
  }

  /** Show one module's attention large; the one shown, or one that does not exist: the mean again. @param {number} module */
  choose(module) {
    this.module = module === this.module || module >= this.episode.modules ? -1 : module;
    this.draw();
  }

  /** @param {number} by */
  changeSpeed(by) {
    const select = byId("speed");
    select.selectedIndex = Math.max(0, Math.min(select.options.length - 1, select.selectedIndex + by));
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  play() {
    const atEnd = this.neighbour(1) === this.e && this.t === this.episode.steps;
    if (atEnd) this.move(this.e, 0);
    this.schedule();
    this.showPlaying();
  }

  pause() {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.showPlaying();
  }

  schedule() {
    this.timer = window.setTimeout(() => this.tick(), 1000 / Number(byId("speed").value));
  }

  /** One step on; after an episode's last state the next episode begins. */
  tick() {
    if (this.t < this.episode.steps) this.move(this.e, this.t + 1);
    else if (this.neighbour(1) !== this.e) this.move(this.neighbour(1), 0);
    else return this.pause();
    return this.schedule();
  }

  showPlaying() {
    byId("play").classList.toggle("playing", this.playing);
    byId("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  /** Show a step of an episode; numbers out of range are brought into it, and filters that hide it are dropped. @param {number} e @param {number} t */
  show(e, t) {
    this.e = Math.max(0, Math.min(this.episodes.length - 1, e));
    this.t = Math.max(0, Math.min(this.episode.steps, t));
    if (this.shown.length && !this.shown.includes(this.e)) {
      byId("agent-select").value = "*";
      byId("outcome-select").value = "";
      this.listEpisodes();
    }
    this.draw();
  }

  /** The same, and the address follows. @param {number} e @param {number} t */
  move(e, t) {
    this.show(e, t);
    window.clearTimeout(this.linkTimer);
    this.linkTimer = window.setTimeout(() => this.writeLink(), 250);
  }

  /** The address always names what is shown; written with a delay, for browsers limit how often it may change. */
  writeLink() {
    const link = `#e=${this.e + 1}&t=${this.t}`;
    if (window.location.hash !== link) window.history.replaceState(null, "", link);
  }

  /** #e=2&t=17 is step 17 of the second episode. Returns whether the address names any. */
  followLink() {
    const wanted = new URLSearchParams(window.location.hash.slice(1));
    if (!wanted.has("e") && !wanted.has("t")) return false;
    const number = (/** @type {string} */ name, /** @type {number} */ otherwise) => {
      const value = Number.parseInt(wanted.get(name) ?? "", 10);
      return Number.isFinite(value) ? value : otherwise;
    };
    this.show(number("e", this.e + 1) - 1, number("t", 0));
    return true;
  }

  /** Bring the player into sight, also on a page with much above it: figures there get their height when loaded. */
  land() {
    const scroll = () => byId("viewer").scrollIntoView();
    if (document.readyState === "complete") scroll();
    else window.addEventListener("load", scroll, { once: true });
  }

  /** The tile under the pointer, in words, as the canvas's tooltip. @param {MouseEvent} event */
  nameTile(event) {
    const canvas = /** @type {HTMLCanvasElement} */ (event.target);
    const inView = canvas.id === "view";
    const columns = inView ? 7 : this.episode.width, rows = inView ? 7 : this.episode.height;
    const x = Math.min(columns - 1, Math.floor(event.offsetX / canvas.clientWidth * columns));
    const y = Math.min(rows - 1, Math.floor(event.offsetY / canvas.clientHeight * rows));
    if (x < 0 || y < 0) return;
    const code = inView ? viewAt(this.episode, this.t, x, y) : gridAt(this.episode, this.t)[x * rows + y];
    const weight = inView ? this.weights?.[7 * x + y] : undefined;
    canvas.title = this.tileNames[code] + (weight === undefined ? "" : `, attention ${weight.toFixed(3)}`);
  }

  draw() {
    this.drawHead();
    this.drawScene();
    this.drawOutputs();
    this.drawLevel();
    this.trackAxis = drawTracks(byId("tracks"), this.episodes, this.e, this.t, this.range);
    if (this.episodes.length > 1) {
      this.overviewAxis = drawOverview(byId("overview"), this.episodes, this.e, this.t, this.range);
    }
    byId("scrub").max = this.episode.steps;
    byId("scrub").value = this.t;
    byId("clock").textContent = `step ${this.t} of ${this.episode.steps}`;
  }

  /** The attention shown on the view; null: none. */
  get weights() {
    if (!this.episode.elements || !byId("attention").checked) return null;
    return elementWeights(this.episode, this.t, this.module);
  }

  drawHead() {
    const episode = this.episode;
    const parts = [episode.label, episode.env, BACKENDS[episode.backend] ?? episode.backend, `level seed ${episode.seed}`];
    byId("episode-facts").textContent = parts.filter(Boolean).join("  ·  ");
    const mission = episode.missions.findLast(([t]) => t <= this.t)?.[1] ?? episode.mission;
    showMission(byId("mission"), mission, episode, this.t, this.module);
    const ended = succeeded(episode) ? "Success" : episode.terminated ? "Ended without success" : episode.truncated ? "Out of time" : "Not over";
    byId("outcome").textContent = `${ended} after ${episode.steps} steps, return ${shortNumber(episodeReturn(episode))}`;
    byId("outcome-mark").classList.toggle("success", succeeded(episode));
    byId("episode-select").value = this.shown.includes(this.e) ? `${this.e}` : "";
    byId("previous-episode").disabled = this.neighbour(-1) === this.e;
    byId("next-episode").disabled = this.neighbour(1) === this.e;
  }

  drawScene() {
    const letters = byId("letters").checked, pixels = byId("pixels").checked;
    byId("letters-legend").hidden = !letters;
    drawWorld(byId("world"), this.episode, this.t, this.tiles.world, letters);
    drawView(byId("view"), this.episode, this.t, pixels ? this.tiles.pixels : this.tiles.view, letters, !pixels, this.weights);
    byId("attention-switch").hidden = !this.episode.elements;
    byId("attention-legend").hidden = !this.weights;
    const who = this.module < 0 ? "active modules, mean" : `module ${this.module + 1}`;
    byId("attention-legend").textContent = `light: attended to (${who}); frame: most`;
    const own = viewAt(this.episode, this.t, 3, 6);
    byId("fact-front").textContent = this.tileNames[viewAt(this.episode, this.t, 3, 5)];
    const [x, y] = this.episode.position.subarray(2 * this.t, 2 * this.t + 2);
    const heading = ["right", "down", "left", "up"][this.episode.direction[this.t]];
    byId("world").setAttribute("aria-label", `The whole environment; the agent is in column ${x}, row ${y}, facing ${heading}`);
    byId("fact-carrying").textContent = own > AGENT ? this.tileNames[own].replace("agent carrying ", "") : "nothing";
  }

  /** The world of every agent on this level, side by side; one that has ended stays at its end. */
  drawLevel() {
    const peers = this.peers, box = byId("level");
    byId("level-panel").hidden = peers.length < 2;
    if (peers.length < 2) return;
    if (box.dataset.peers !== `${peers}`) {
      box.dataset.peers = `${peers}`;
      box.replaceChildren(...peers.map((index) => this.peerCard(index)));
    }
    peers.forEach((index, place) => {
      const episode = this.episodes[index], t = Math.min(this.t, episode.steps), card = box.children[place];
      card.setAttribute("aria-pressed", `${index === this.e}`);
      drawWorld(card.children[0], episode, t, this.tiles.world, byId("letters").checked);
      const ended = t < episode.steps ? `step ${t}` : `${succeeded(episode) ? "success" : "no success"} after ${t} steps`;
      card.children[2].textContent = ended;
    });
  }

  /** @param {number} index of an episode */
  peerCard(index) {
    const card = /** @type {HTMLButtonElement} */ (element("button", "peer"));
    card.type = "button";
    card.append(element("canvas"), element("span", "peer-name", this.episodes[index].label || `episode ${index + 1}`));
    card.append(element("span", "hint"));
    card.onclick = () => this.move(index, this.t);
    return card;
  }

  drawOutputs() {
    const { episode, t } = this;
    if (this.built !== `${episode.modules} ${episode.elements}`) {
      this.built = `${episode.modules} ${episode.elements}`;
      this.module = Math.min(this.module, episode.modules - 1);
      buildModules(byId("modules"), episode, (module) => this.choose(module));
      const share = `1/${episode.modules} = ${(1 / episode.modules).toFixed(2)}`;
      byId("communication-legend").textContent = `row attends to column; blue: more than ${share}, orange: less`;
      const picture = episode.elements ? "; picture: to what; choose one to see it large" : "";
      byId("modules-legend").textContent = `filled: active; bar: attention to the input${picture}`;
      buildCommunication(byId("communication"), episode.modules);
    }
    if (byId("policy").children.length !== episode.choices) {
      buildPolicy(byId("policy"), this.actionNames.slice(0, episode.choices));
    }
    byId("no-modules").hidden = episode.modules > 0;
    byId("communication-block").hidden = episode.modules === 0;
    showModules(byId("modules"), episode, t, this.module, this.tiles.view);
    if (episode.modules) showCommunication(byId("communication"), episode, t);
    showPolicy(byId("policy"), episode, t);
    const over = t >= episode.steps;
    const value = over ? null : episode.values[t];
    byId("fact-action").textContent = over ? "none: the end" : this.actionNames[episode.actions[t]];
    byId("fact-value").textContent = value === null ? "–" : (Number(value.toFixed(2)) || 0).toFixed(2);
  }
}

async function main() {
  const data = JSON.parse(byId("viewer-data").textContent);
  const [world, view, pixels] = await Promise.all(
    ["world", "view", "pixels"].map((name) => loadTiles(data.sheets[name], data.columns)),
  );
  new Viewer(data, { world, view, pixels }).start();
}

main();
