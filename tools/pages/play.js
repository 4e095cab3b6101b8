// Plays recorded explorers on pages without a kernel. The site's script is stage.js, then this file, in one function:
// a recording stands in for Python, and says for any values of the controls the state that was computed nearest to them.

const places = document.querySelectorAll.bind(document, ".mefit-play[data-recording]");
const asked = new Map(); // recordings that are on their way, by name: the promise, and what fulfils it

window.mefitPlay = {
  receive(name, packed) {
    asked.get(name).give(unpack(packed));
  },
};

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** A recording, loaded once, as a script: a page that is opened as a file may load no data. */
function load(name) {
  if (!asked.has(name)) {
    const one = {};
    one.promise = new Promise((give, refuse) => {
      one.give = give;
      const script = html("script", { src: `${window.mefitRoot}_static/play/${name}.js` });
      script.addEventListener("error", () => refuse(new Error(`The recording ${name} is missing.`)));
      document.head.append(script);
    });
    asked.set(name, one);
  }
  return asked.get(name).promise;
}

/** What stage.js takes for Python. */
class Recording {
  constructor({ setup, frames }, start) {
    this.setup = setup;
    this.frames = frames;
    this.controls = new Map(setup.controls);
    this.values = { ...start };
    this.heard = { "change:shown": [], "msg:custom": [] };
    this.seq = 0;
    this.answer({ who: "", turn: 0 });
  }

  get(name) {
    return name === "setup" ? this.setup : this.shown;
  }

  on(what, call) {
    this.heard[what].push(call);
  }

  off(what, call) {
    this.heard[what] = this.heard[what].filter((one) => one !== call);
  }

  send(message) {
    if (message.kind === "hello") {
      setTimeout(() => this.heard["msg:custom"].forEach((call) => call({ kind: "here" })));
      return;
    }
    this.values = { ...this.values, ...message.values };
    this.answer(message);
    setTimeout(() => this.heard["change:shown"].forEach((call) => call()));
  }

  /** Which of the values that were computed is meant. */
  place(name, values) {
    const control = this.controls.get(name);
    if (control?.grid) return index(control, this.values[name]);
    return Math.max(values.indexOf(this.values[name]), 0);
  }

  state() {
    let place = 0;
    for (const [name, values] of this.frames.over) place = place * values.length + this.place(name, values);
    return this.frames.states[place];
  }

  answer({ who, turn }) {
    const state = this.state();
    if (!state.error) {
      const marks = state.marks.map((k) => this.frames.marks[k]);
      this.told = { scene: { panels: this.frames.panels[state.panels], marks }, say: state.say, more: state.more };
    }
    this.seq += 1;
    const told = { ...this.told, seq: this.seq, who, turn, values: this.values, error: state.error ?? "" };
    // Where the first state is refused there is nothing to show yet.
    this.shown = this.told ? JSON.stringify(told) : "";
  }

  /** Values from an address, as in #tau=5&form=centred; null where they are not of this explorer. */
  read(pairs) {
    const values = {};
    for (const [name, text] of pairs) {
      const control = this.controls.get(name);
      if (!control) return null;
      if (control.kind === "slider" && Number.isFinite(Number(text))) values[name] = nearest(control, Number(text));
      else if (control.kind === "switch") values[name] = text === "true";
      else if (control.kind === "choice" && control.options.includes(text)) values[name] = text;
      else return null;
    }
    return pairs.length ? values : null;
  }

  address(name) {
    const pairs = [...this.controls.keys()].map((key) => [key, this.values[key]]);
    return `#${new URLSearchParams([["explorer", name], ...pairs])}`;
  }
}

async function wake(place) {
  if (place.dataset.woken) return;
  place.dataset.woken = "yes";
  try {
    const data = await load(place.dataset.recording);
    const recording = new Recording(data, JSON.parse(place.dataset.start));
    place.recording = recording;
    const values = fromAddress(place);
    if (values) recording.send({ kind: "move", who: "", turn: 0, values });
    const alive = html("div", { class: "alive" });
    const view = new Stage(recording, alive);
    place.view = view;
    place.replaceChildren(alive, linkTo(place, recording));
    view.resize();
    place.dataset.alive = "yes";
  } catch (fault) {
    place.append(html("p", { class: "mefit-note" }, `This explorer stays at rest: ${fault.message}`));
  }
}

/** A link to the present state, for slides and questions. */
function linkTo(place, recording) {
  const link = html("a", { class: "mefit-link", href: "#" }, "Link to this state");
  const update = () => link.setAttribute("href", recording.address(place.dataset.name));
  recording.on("change:shown", update);
  link.addEventListener("focus", update);
  link.addEventListener("pointerenter", update);
  link.addEventListener("click", update);
  update();
  return link;
}

function fromAddress(place) {
  const pairs = [...new URLSearchParams(location.hash.slice(1))];
  const named = pairs.find(([name]) => name === "explorer");
  if (named && named[1] !== place.dataset.name) return null;
  return place.recording.read(pairs.filter(([name]) => name !== "explorer"));
}

async function followAddress() {
  if (!location.hash.includes("=")) return;
  for (const place of places()) {
    await wake(place);
    const values = place.recording && fromAddress(place);
    if (!values) continue;
    place.view.move(values, true);
    place.scrollIntoView({ block: "center" });
    return;
  }
}

// Explorers come to life when they come near the window.
const near = new IntersectionObserver(
  (seen) => {
    for (const { isIntersecting, target } of seen) if (isIntersecting) wake(target);
  },
  { rootMargin: "600px" },
);

/** The stage asks its page whether it is dark, as JupyterLab says it; the theme of the site says it in its own way. */
function tellTheme() {
  const wish = document.body.dataset.theme ?? "auto";
  const dark = wish === "dark" || (wish === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.body.dataset.jpThemeLight = String(!dark);
}

/** An answer to a question with options is told right or wrong, and opens what waits for it. */
function listenToAnswers() {
  for (const asks of document.querySelectorAll(".mefit-asked")) {
    const fold = asks.querySelector(":scope > details");
    for (const button of asks.querySelectorAll(".options button"))
      button.addEventListener("click", () => {
        for (const other of asks.querySelectorAll(".options button")) other.removeAttribute("aria-pressed");
        button.setAttribute("aria-pressed", "true");
        fold.open = true;
      });
    const waits = `.mefit-waits[data-place="${asks.dataset.place}"]`;
    fold.addEventListener("toggle", () => {
      asks.classList.toggle("revealed", fold.open);
      if (fold.open) for (const one of document.querySelectorAll(waits)) one.open = true;
    });
  }
}

function begin() {
  tellTheme();
  new MutationObserver(tellTheme).observe(document.body, { attributes: true, attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tellTheme);
  for (const place of places()) if (place.dataset.recording) near.observe(place);
  listenToAnswers();
  window.addEventListener("hashchange", followAddress);
  followAddress();
}

if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
else begin();
