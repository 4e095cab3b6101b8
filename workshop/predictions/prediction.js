// A prediction on the page; asked.py puts this behind the stage's script, whose panels, axes and marks it uses.

const STEPS = 40; // of a pen that keys move, from the foot of the axes to their top
const copy = (value) => JSON.parse(JSON.stringify(value));

/** Curves drawn by hand: by mouse or finger anywhere on the axes, or by keys with a pen. */
class Drawing {
  constructor(owner) {
    this.owner = owner;
    this.controls = new Map();
    this.active = 0;
    this.column = 0;
    this.last = null;
    this.panel = new Panel(this, "drawing");
    this.grid = html("div", { class: "panels drawing" }, this.panel.element);
    this.legend = html("div", { class: "legend", "aria-hidden": "true" });
    this.pen = svg("g", { class: "handle prior both", role: "slider", tabindex: 0 });
    this.pen.append(svg("circle", { r: 20, class: "reach" }), svg("circle", { r: 9, class: "ring" }));
    this.panel.svg.append(this.pen);
    const { svg: picture } = this.panel;
    picture.addEventListener("pointerdown", (event) => this.begin(event));
    picture.addEventListener("pointermove", (event) => this.last !== null && this.draw(event));
    for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => this.end());
    // Without this a finger would scroll the page in place of drawing.
    const still = (event) => !this.owner.told.revealed && event.preventDefault();
    picture.addEventListener("touchstart", still, { passive: false });
    this.pen.addEventListener("keydown", (event) => this.pressed(event));
  }

  get values() {
    return this.owner.given;
  }

  show(scene, revealed) {
    const marks = copy(scene.marks);
    this.owner.setup.curves.forEach((name, k) => {
      const mine = marks.find((mark) => mark.id === `you ${name}`);
      if (mine) mine.y = this.values[k];
    });
    this.spec = scene.panels[0];
    this.panel.aim(this.spec, marks);
    // A mark that had no place before does not glide, but here it has to be drawn all the same.
    for (const mark of this.panel.marks.values()) mark.moving = true;
    this.panel.glide(1);
    this.pen.setAttribute("visibility", revealed ? "hidden" : "visible");
    this.grid.classList.toggle("open", !revealed);
    this.legend.replaceChildren(...marks.filter((mark) => mark.label).map(swatch));
    this.placePen();
  }

  placePen() {
    if (!this.spec) return;
    const [x, y] = [this.spec.x, this.spec.y];
    const place = (k) => unit(this.owner.setup.grid[k], x);
    const value = this.values[this.active][this.column] ?? valueAt(0.5, y);
    this.pen.setAttribute("transform", `translate(${this.panel.px(place(this.column))} ${this.panel.py(unit(value, y))})`);
    const name = this.owner.setup.curves[this.active];
    this.pen.setAttribute("aria-label", `Pen for ${name}: left and right to move on, up and down to draw`);
    this.pen.setAttribute("aria-valuemin", y.low);
    this.pen.setAttribute("aria-valuemax", y.high);
    this.pen.setAttribute("aria-valuenow", value);
    this.pen.setAttribute("aria-valuetext", `${short(value)} at ${short(this.owner.setup.grid[this.column])}`);
  }

  /** The column that is nearest to a pointer, and the value under it. */
  under(event) {
    const { u, v } = this.panel.under(event);
    const away = this.owner.setup.grid.map((x) => Math.abs(unit(x, this.spec.x) - u));
    const { y } = this.spec;
    const value = valueAt(Math.min(Math.max(v, 0), 1), y);
    return [away.indexOf(Math.min(...away)), value];
  }

  begin(event) {
    if (event.button || this.owner.told.revealed) return;
    event.preventDefault();
    this.panel.svg.setPointerCapture(event.pointerId);
    this.pen.focus({ preventScroll: true });
    const [column, value] = this.under(event);
    this.nearestCurve(column, value);
    this.last = [column, value];
    this.draw(event);
  }

  /** Where all curves are whole, a hand goes on with the one that it touches. */
  nearestCurve(column, value) {
    if (this.values.some((curve) => curve.includes(null))) return;
    const away = this.values.map((curve) => Math.abs(unit(curve[column], this.spec.y) - unit(value, this.spec.y)));
    this.active = away.indexOf(Math.min(...away));
  }

  draw(event) {
    const [column, value] = this.under(event);
    const [from, start] = this.last;
    const way = Math.sign(column - from);
    for (let k = from; way && k !== column + way; k += way) {
      const share = (k - from) / (column - from);
      this.values[this.active][k] = valueAt(between(unit(start, this.spec.y), unit(value, this.spec.y), share), this.spec.y);
    }
    this.values[this.active][column] = value;
    this.last = [column, value];
    this.column = column;
    this.owner.changed();
  }

  end() {
    if (this.last === null) return;
    this.last = null;
    this.next();
    this.owner.send("give");
  }

  /** With one curve whole, the next one that is not has the pen. */
  next() {
    const open = this.values.findIndex((curve) => curve.includes(null));
    if (open >= 0 && !this.values[this.active].includes(null)) {
      this.active = open;
      this.column = 0;
      this.owner.changed();
    }
  }

  pressed(event) {
    const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1], PageUp: [0, 5], PageDown: [0, -5] };
    const way = ways[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey || this.owner.told.revealed) return;
    event.preventDefault();
    const curve = this.values[this.active];
    const here = curve[this.column] ?? valueAt(0.5, this.spec.y);
    const share = unit(here, this.spec.y) + (way[1] / STEPS) * (event.shiftKey ? 5 : 1);
    curve[this.column] = valueAt(Math.min(Math.max(share, 0), 1), this.spec.y);
    this.column = Math.min(Math.max(this.column + way[0], 0), curve.length - 1);
    curve[this.column] ??= here;
    if (event.key === "ArrowRight" && this.column === curve.length - 1) this.next();
    this.owner.changed();
    this.owner.send("give");
  }
}

function swatch(mark) {
  const part = mark.kind === "dots" ? svg("path", { d: shape(mark.shape, 14, 7, mark.size / 2) }) : svg("path", { d: "M1 7H27" });
  const look = `mark ${mark.kind} ${mark.cls} ${mark.weight}`;
  return html("span", {}, svg("svg", { width: 28, height: 14 }, svg("g", { class: look }, part)), mark.label);
}

/** The number beside the truth, once it is revealed. */
class NumberLine {
  constructor() {
    this.controls = new Map();
    this.panel = new Panel(this, "drawing");
    this.grid = html("div", { class: "panels number-line" }, this.panel.element);
    this.legend = html("div", { class: "legend", "aria-hidden": "true" });
  }

  show(scene) {
    this.panel.aim(scene.panels[0], scene.marks);
    this.panel.glide(1);
    this.legend.replaceChildren(...scene.marks.filter((mark) => mark.label).map(swatch));
  }
}

class Prediction extends View {
  constructor(model, element) {
    super(model);
    this.told = JSON.parse(model.get("shown"));
    this.given = copy(this.told.given);
    this.root = html("div", { class: "mefit-stage mefit-prediction", tabindex: -1 });
    this.fields = html("div", { class: "fields" });
    this.button = html("button", { type: "button", class: "reveal" }, "Reveal");
    this.says = html("p", { class: "says", "aria-live": "polite" });
    this.alert = html("p", { class: "alert" });
    const asks = html("p", { class: "asks" }, html("b", {}, "Your prediction. "), this.setup.asks);
    this.root.append(asks, this.fields, this.button, this.says, this.alert, this.rest);
    element.append(this.root);
    this[`${this.setup.kind}Fields`]();
    this.button.addEventListener("click", () => this.reveal());
    this.listen(4000);
  }

  atRest() {
    this.rest.hidden = this.told.revealed;
  }

  resize() {
    const width = this.root.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    if (!this.picture) return;
    this.picture.panel.resize();
    this.picture.placePen?.();
  }

  send(kind) {
    this.model.send({ kind, value: this.given });
  }

  reveal() {
    this.button.disabled = true;
    this.button.textContent = "Asking\u2026";
    // What had the focus is about to go, and JupyterLab hears Shift + Enter from inside the notebook only.
    this.root.focus({ preventScroll: true });
    this.send("reveal");
  }

  /** A hand has changed the answer. */
  changed() {
    if (this.setup.kind === "curve") this.picture.show(this.told.scene, this.told.revealed);
    this.showButton();
  }

  whole() {
    if (this.setup.kind === "curve") return !this.given.some((curve) => curve.includes(null));
    return this.given !== null;
  }

  showButton() {
    this.button.hidden = this.told.revealed;
    this.button.disabled = !this.whole();
    this.button.textContent = "Reveal";
  }

  show(told) {
    this.told = told;
    // Until it is locked the page knows best: what Python answers may be older than what a hand did meanwhile.
    if (told.revealed) this.given = copy(told.given);
    this.root.dataset.state = told.revealed ? (told.right ? "right" : "wrong") : "open";
    this.says.textContent = told.say;
    this.alert.textContent = told.error ? `\u26a0 ${told.error}` : "";
    this.showFields();
    this.showButton();
    if (told.revealed) {
      this.rest.hidden = true;
      const place = `${this.setup.lesson}-${this.setup.name}`;
      for (const fold of document.querySelectorAll(`details.mefit-waits[data-place="${place}"]`)) fold.open = true;
    }
  }

  // One pair of functions for each kind of question

  numberFields() {
    this.box = html("input", { type: "number", step: "any", min: this.setup.low, max: this.setup.high });
    this.box.setAttribute("aria-label", this.setup.asks);
    this.box.addEventListener("input", () => {
      this.given = this.box.value === "" ? null : Number(this.box.value);
      this.showButton();
    });
    this.box.addEventListener("change", () => this.send("give"));
    this.box.addEventListener("keydown", (event) => event.key === "Enter" && this.whole() && this.reveal());
    this.fields.append(html("label", {}, this.box, html("span", {}, this.setup.unit)));
    this.picture = new NumberLine();
    this.button.after(this.picture.legend, this.picture.grid);
  }

  choiceFields() {
    const name = `mefit-${Math.random().toString(36).slice(2)}`;
    this.fields.setAttribute("role", "radiogroup");
    this.fields.setAttribute("aria-label", this.setup.asks);
    this.options = this.setup.options.map((option) => {
      const box = html("input", { type: "radio", name });
      const sign = html("span", { class: "sign" });
      box.addEventListener("change", () => {
        this.given = option;
        this.showButton();
        this.send("give");
      });
      const label = html("label", {}, box, sign, option);
      this.fields.append(label);
      return { option, box, sign, label };
    });
  }

  curveFields() {
    this.picture = new Drawing(this);
    this.fields.append(this.picture.legend, this.picture.grid);
    const hint = "Draw with the mouse or a finger from the left end to the right; by keys: arrows move the pen.";
    this.hint = html("p", { class: "hint" });
    this.hintText = hint;
    this.fields.append(this.hint);
  }

  crossesFields() {
    const { rows, columns } = this.setup;
    const head = html("tr", {}, html("th"), ...columns.map((column) => html("th", { scope: "col" }, column)));
    this.boxes = rows.map((row, i) =>
      columns.map((column, j) => {
        const box = html("input", { type: "checkbox", "aria-label": `${row}: ${column}` });
        box.addEventListener("change", () => {
          this.given[i][j] = box.checked;
          this.send("give");
        });
        return { box, sign: html("span", { class: "sign" }) };
      }),
    );
    const lines = rows.map((row, i) => {
      const cells = this.boxes[i].map(({ box, sign }) => html("td", {}, html("label", {}, box, sign)));
      return html("tr", {}, html("th", { scope: "row" }, row), ...cells);
    });
    this.fields.append(html("div", { class: "wide" }, html("table", {}, html("thead", {}, head), html("tbody", {}, ...lines))));
  }

  showFields() {
    const { kind } = this.setup;
    const { revealed, truth, scene } = this.told;
    if (kind === "number") {
      this.box.disabled = revealed;
      if (document.activeElement !== this.box) this.box.value = this.given ?? "";
      this.picture.grid.hidden = !scene;
      this.picture.legend.hidden = !scene;
      if (scene) {
        this.picture.panel.resize();
        this.picture.show(scene);
      }
    } else if (kind === "choice") {
      for (const { option, box, sign, label } of this.options) {
        box.checked = option === this.given;
        box.disabled = revealed;
        const mine = option === this.given;
        sign.textContent = !revealed ? "" : option === truth ? "\u2713" : mine ? "\u2717" : "";
        label.className = !revealed ? "" : option === truth ? "true" : mine ? "false" : "other";
      }
    } else if (kind === "curve") {
      this.picture.show(scene, revealed);
      const { curves } = this.setup;
      const which = curves.length > 1 ? ` Now: ${curves[this.picture.active]}.` : "";
      this.hint.textContent = revealed ? "" : this.hintText + which;
    } else {
      this.boxes.forEach((row, i) =>
        row.forEach(({ box, sign }, j) => {
          box.checked = this.given[i][j];
          box.disabled = revealed;
          const [mine, so] = [this.given[i][j], revealed && truth[i][j]];
          sign.textContent = !revealed ? "" : so ? (mine ? "\u2713" : "!") : mine ? "\u2717" : "";
          box.closest("td").className = !revealed ? "" : so ? (mine ? "true" : "missed") : mine ? "false" : "";
        }),
      );
    }
  }
}

export default {
  render({ model, el }) {
    return whenShown(model, () => new Prediction(model, el));
  },
};
