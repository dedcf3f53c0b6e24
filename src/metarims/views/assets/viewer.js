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
    this.episodes.forEach((episode, index) => {
      const parts = [`${index + 1} of ${this.episodes.length}`, episode.mission || episode.env, episode.label];
      byId("episode-select").append(new Option(parts.filter(Boolean).join(" · "), `${index}`));
    });
    byId("overview-panel").hidden = this.episodes.length < 2;
    byId("overview-legend").textContent = "full diamond: success, hollow: none";
    byId("letters-legend").textContent = COLORS.map(([letters, name]) => `${letters}\u00a0${name}`).join(" · ");
    byId("letters").checked = window.matchMedia("(prefers-contrast: more)").matches;
    this.connect();
    this.followLink();
    byId("viewer").dataset.ready = "true";
  }

  connect() {
    byId("play").onclick = () => this.toggle();
    byId("step-back").onclick = () => this.move(this.e, this.t - 1);
    byId("step-forward").onclick = () => this.move(this.e, this.t + 1);
    byId("previous-episode").onclick = () => this.move(this.e - 1, 0);
    byId("next-episode").onclick = () => this.move(this.e + 1, 0);
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
    window.addEventListener("hashchange", () => this.followLink());
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

  /** Keys work wherever the focus is, except where an element needs them itself. @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
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
      "[": () => this.move(this.e - 1, 0),
      "]": () => this.move(this.e + 1, 0),
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
    const atEnd = this.e === this.episodes.length - 1 && this.t === this.episode.steps;
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
    else if (this.e < this.episodes.length - 1) this.move(this.e + 1, 0);
    else return this.pause();
    return this.schedule();
  }

  showPlaying() {
    byId("play").classList.toggle("playing", this.playing);
    byId("play").setAttribute("aria-label", this.playing ? "Pause" : "Play");
  }

  /** Go to a step of an episode; numbers out of range are brought into it. @param {number} e @param {number} t */
  move(e, t) {
    this.e = Math.max(0, Math.min(this.episodes.length - 1, e));
    this.t = Math.max(0, Math.min(this.episode.steps, t));
    this.draw();
    window.clearTimeout(this.linkTimer);
    this.linkTimer = window.setTimeout(() => this.writeLink(), 250);
  }

  /** The address always names what is shown; written with a delay, for browsers limit how often it may change. */
  writeLink() {
    const link = `#e=${this.e + 1}&t=${this.t}`;
    if (window.location.hash !== link) window.history.replaceState(null, "", link);
  }

  /** #e=2&t=17 is step 17 of the second episode. */
  followLink() {
    const wanted = new URLSearchParams(window.location.hash.slice(1));
    const number = (/** @type {string} */ name, /** @type {number} */ otherwise) => {
      const value = Number.parseInt(wanted.get(name) ?? "", 10);
      return Number.isFinite(value) ? value : otherwise;
    };
    this.move(number("e", 1) - 1, number("t", 0));
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
    byId("episode-select").value = `${this.e}`;
    byId("previous-episode").disabled = this.e === 0;
    byId("next-episode").disabled = this.e === this.episodes.length - 1;
  }

  drawScene() {
    const letters = byId("letters").checked, pixels = byId("pixels").checked;
    byId("letters-legend").hidden = !letters;
    drawWorld(byId("world"), this.episode, this.t, this.tiles.world, letters);
    drawView(byId("view"), this.episode, this.t, pixels ? this.tiles.pixels : this.tiles.view, letters, !pixels, this.weights);
    byId("attention-switch").hidden = !this.episode.elements;
    byId("attention-legend").hidden = !this.weights;
    const who = this.module < 0 ? "active modules, mean" : `module ${this.module}`;
    byId("attention-legend").textContent = `light: attended to (${who}); frame: most`;
    const own = viewAt(this.episode, this.t, 3, 6);
    byId("fact-front").textContent = this.tileNames[viewAt(this.episode, this.t, 3, 5)];
    const [x, y] = this.episode.position.subarray(2 * this.t, 2 * this.t + 2);
    const heading = ["right", "down", "left", "up"][this.episode.direction[this.t]];
    byId("world").setAttribute("aria-label", `The whole environment; the agent is in column ${x}, row ${y}, facing ${heading}`);
    byId("fact-carrying").textContent = own > AGENT ? this.tileNames[own].replace("agent carrying ", "") : "nothing";
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
    byId("fact-value").textContent = value === null ? "–" : value.toFixed(2);
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
