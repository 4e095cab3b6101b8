// A lesson in front of a class: large, without the frame of an editor, section by section. An extension of JupyterLab
// written by hand, so that nothing has to be built; `start.py present` alone loads it. It knows a section by its
// heading, runs all cells once, and leaves everything else to JupyterLab: the kernel, the explorers, the folded code.
(() => {
  const NAME = "mefit-present";
  const LOOK = new URL("present.css", document.currentScript.src).href;
  const GALLERY = /(^|\/)explorers\.ipynb$/;
  const FIELD = "input:not([type=checkbox]), textarea, select, [contenteditable=true], .cm-editor, [role=slider]";
  const HELP = "→ ← sections · Page Down, Page Up screens · Esc all sections · W whole page · F full screen · + − size";

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function button(words, about, act) {
    const made = element("button", { type: "button", title: about, "aria-label": about }, words);
    made.addEventListener("click", () => {
      act();
      made.blur();
    });
    return made;
  }

  const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

  /** The first answer that is not false; JupyterLab opens its page and its kernel in its own time. */
  async function until(question) {
    for (;;) {
      const answer = question();
      if (answer) return answer;
      await wait(100);
    }
  }

  const codeless = (cell) => cell.model.type !== "code";
  const tagged = (cell, tag) => (cell.model.getMetadata("tags") ?? []).includes(tag);

  /** [{title, cells}]: a section begins at a heading of the first or second order. */
  function sectionsOf(cells) {
    const sections = [];
    for (const cell of cells) {
      if (tagged(cell, "navigation")) continue;
      const head = codeless(cell) && cell.model.sharedModel.getSource().match(/^#{1,2} (.+)$/m);
      if (head || !sections.length) sections.push({ title: head ? plain(head[1]) : "", cells: [] });
      sections.at(-1).cells.push(cell);
    }
    return sections;
  }

  const plain = (markdown) => markdown.replace(/\*\((\d+) minutes\)\*/, "").replace(/[*`]/g, "").trim();

  class Show {
    constructor(app, panel) {
      this.app = app;
      this.panel = panel;
      this.notebook = panel.content;
      this.gallery = GALLERY.test(panel.context.path);
      this.sections = sectionsOf(this.notebook.widgets);
      this.at = 0;
      this.size = 1;
      this.whole = this.gallery;
      document.body.classList.add("mefit-present");
      document.body.classList.toggle("gallery", this.gallery);
      for (const cell of this.notebook.widgets) if (!codeless(cell)) cell.inputHidden = true;
      this.place = element("span", { class: "place", "aria-live": "polite" });
      this.state = element("span", { class: "state", role: "status" });
      const bar = element(
        "footer",
        { class: "mefit-present-bar" },
        button("‹", "Section before (←)", () => this.go(this.at - 1)),
        button("›", "Next section (→)", () => this.go(this.at + 1)),
        button("☰", "All sections (Esc)", () => this.list()),
        this.place,
        this.state,
        button("−", "Smaller (−)", () => this.resize(1 / 1.1)),
        button("+", "Larger (+)", () => this.resize(1.1)),
        button("whole page", "Whole page, or one section (W)", () => this.turn()),
        button("full screen", "Full screen (F)", () => this.fill()),
      );
      this.overview = element("nav", { class: "mefit-present-list", "aria-label": "All sections" });
      this.overview.hidden = true;
      document.body.append(bar, this.overview);
      window.addEventListener("keydown", (event) => this.pressed(event), true);
      window.addEventListener("resize", () => this.resize(1));
      this.resize(1);
      if (this.gallery) this.addDoors();
      this.show();
    }

    /** In the gallery each explorer has a button that gives it the whole screen. */
    addDoors() {
      this.sections.forEach((section, place) => {
        const door = button("full screen", `${section.title}: full screen`, () => {
          this.go(place);
          this.fill(true);
        });
        door.classList.add("door");
        if (section.cells.some((cell) => !codeless(cell))) section.cells[0].node.append(door);
      });
    }

    get scroller() {
      return this.notebook.outerNode ?? this.notebook.node;
    }

    /** Nine hundred pixels of a lesson fill the width, so that letters grow with the screen. */
    resize(factor) {
      this.size = Math.min(Math.max(this.size * factor, 0.5), 3);
      const zoom = this.size * Math.max(1, window.innerWidth / 900);
      this.notebook.node.style.setProperty("--mefit-zoom", zoom.toFixed(3));
    }

    go(place) {
      if (place < 0 || place >= this.sections.length) return;
      this.at = place;
      this.whole = false;
      this.show();
      this.scroller.scrollTop = 0;
    }

    show() {
      this.overview.hidden = true;
      this.sections.forEach((section, place) => {
        for (const cell of section.cells) cell.node.classList.toggle("mefit-away", !this.whole && place !== this.at);
      });
      for (const cell of this.notebook.widgets) {
        if (tagged(cell, "navigation")) cell.node.classList.add("mefit-away");
      }
      const { title } = this.sections[this.at];
      this.place.textContent = this.whole ? "" : `${this.at + 1}/${this.sections.length} · ${title}`;
      document.body.dataset.section = this.whole ? "whole" : this.at + 1;
    }

    /** One section, or the whole lesson as one page, at the same place. */
    turn() {
      const first = this.sections[this.at].cells[0].node;
      this.whole = !this.whole;
      this.show();
      if (this.whole) first.scrollIntoView();
      else this.scroller.scrollTop = 0;
    }

    list() {
      if (!this.overview.hidden) return this.show();
      const entries = this.sections.map(({ title }, place) => button(title, title, () => this.go(place)));
      this.overview.replaceChildren(...entries, element("p", {}, HELP));
      this.overview.hidden = false;
      return entries[this.at].focus();
    }

    fill(only) {
      if (document.fullscreenElement && !only) document.exitFullscreen();
      else if (!document.fullscreenElement) document.documentElement.requestFullscreen().catch(() => {});
    }

    /** A screen on: to the first cell, or explorer, that is not seen whole, and after the last to the next section. */
    screen(way) {
      const box = this.scroller.getBoundingClientRect();
      const floor = document.querySelector(".mefit-present-bar").getBoundingClientRect().top;
      const places = this.notebook.widgets
        .filter((cell) => cell.node.offsetParent !== null)
        .map((cell) => (cell.node.querySelector(".mefit-stage") ?? cell.node).getBoundingClientRect());
      const beyond = places.find((place) => place.bottom > floor + 4 && place.height > 4);
      const before = places.some((place) => place.top < box.top - 4);
      const most = 0.85 * (floor - box.top);
      if (way > 0 && beyond) {
        const step = beyond.top - box.top - 8;
        this.scroller.scrollTop += step > 40 ? Math.min(step, most) : most;
      } else if (way < 0 && before) this.scroller.scrollTop -= most;
      else this.go(this.at + way);
    }

    /** Keys of the lecture; what an explorer or a field has in hand keeps its own, and JupyterLab's wait outside. */
    pressed(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const place = document.activeElement;
      const busy = place?.closest(FIELD);
      const clicker = ["PageDown", "PageUp"].includes(event.key) && !place.closest(".cm-editor");
      if (busy && !clicker && event.key !== "Escape") return;
      if (busy && event.key === "Escape") {
        place.blur();
        event.preventDefault();
        event.stopImmediatePropagation();
        return;
      }
      if (!this.overview.hidden && this.pressedInList(event)) return;
      const keys = {
        ArrowRight: () => this.go(this.at + 1),
        ArrowLeft: () => this.go(this.at - 1),
        PageDown: () => this.screen(1),
        " ": () => this.screen(event.shiftKey ? -1 : 1),
        PageUp: () => this.screen(-1),
        ArrowDown: () => (this.scroller.scrollTop += 120),
        ArrowUp: () => (this.scroller.scrollTop -= 120),
        Home: () => this.go(0),
        End: () => this.go(this.sections.length - 1),
        Escape: () => this.list(),
        w: () => this.turn(),
        f: () => this.fill(),
        "+": () => this.resize(1.1),
        "-": () => this.resize(1 / 1.1),
      };
      const act = keys[event.key];
      const pressing = place?.matches("button, a, summary") && [" ", "Enter"].includes(event.key);
      if (event.key === "Tab" || pressing) return;
      event.stopImmediatePropagation();
      if (!act) return;
      event.preventDefault();
      act();
    }

    /** In the list of sections the arrows go from one to the next. */
    pressedInList(event) {
      const entries = [...this.overview.querySelectorAll("button")];
      const now = entries.indexOf(document.activeElement);
      const next = { ArrowDown: now + 1, ArrowUp: now - 1, ArrowRight: now + 1, ArrowLeft: now - 1 }[event.key];
      if (next === undefined && event.key !== "Enter") return false;
      event.stopImmediatePropagation();
      if (event.key === "Enter") return true;
      event.preventDefault();
      entries[Math.min(Math.max(next, 0), entries.length - 1)].focus();
      return true;
    }

    /** Run everything once, and say how far it is. */
    async run() {
      await this.panel.sessionContext.ready;
      await until(() => this.panel.sessionContext.session?.kernel?.status === "idle");
      const code = this.notebook.widgets.filter((cell) => !codeless(cell) && cell.model.sharedModel.getSource().trim());
      const told = setInterval(() => {
        const done = code.filter((cell) => cell.model.executionCount !== null).length;
        this.state.textContent = `running: ${done} of ${code.length}`;
      }, 300);
      const well = await this.app.commands.execute("notebook:run-all-cells");
      clearInterval(told);
      const stopped = code.some((cell) => (cell.model.outputs?.toJSON() ?? []).some((one) => one.output_type === "error"));
      this.state.textContent = stopped || well === false ? "a cell stopped" : "";
      document.body.dataset.run = stopped ? "stopped" : "done";
      this.notebook.deselectAll();
      document.activeElement?.blur();
    }
  }

  async function present(app) {
    document.head.append(element("link", { rel: "stylesheet", href: LOOK }));
    await app.restored;
    const panel = await until(() => {
      const open = app.shell.currentWidget;
      return open?.sessionContext && open.content?.widgets?.length && open.context.isReady ? open : null;
    });
    await panel.revealed;
    await new Show(app, panel).run();
  }

  const plugin = { id: `${NAME}:plugin`, autoStart: true, activate: (app) => void present(app) };
  window._JUPYTERLAB ??= {};
  window._JUPYTERLAB[NAME] = { init: () => {}, get: async () => () => ({ __esModule: true, default: plugin }) };
})();
