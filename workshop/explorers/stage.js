// The front end of the explorers: it draws a scene that Python describes, moves marks smoothly from one state to the
// next, and lets the learner take hold of them. stage.py says what a scene is. Nothing is fetched, and Python sends data
// only. The arithmetic of a slider is that of controls.py; one table in the tests holds both to it.

// ------------------------------------------------------------------------------------------------ arithmetic

function halfEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

export function stride(slider) {
  if (slider.step !== null) return slider.step;
  return (slider.log ? Math.log10(slider.high / slider.low) : slider.high - slider.low) / 100;
}

/** The value `index` steps from the low end, without the digits that only the arithmetic put there. */
export function at(slider, index) {
  if (slider.grid) return slider.grid[Math.min(Math.max(index, 0), slider.grid.length - 1)];
  const value = slider.log ? slider.low * 10 ** (index * stride(slider)) : slider.low + index * stride(slider);
  const short = slider.whole ? Math.trunc(value) : Number(value.toPrecision(slider.log ? 3 : 10));
  return Math.min(Math.max(short, slider.low), slider.high);
}

/** How many steps from the low end a value lies, to the nearest step. */
export function index(slider, value) {
  if (slider.grid) return closest(slider, value);
  return halfEven((slider.log ? Math.log10(value / slider.low) : value - slider.low) / stride(slider));
}

/** Of a recorded slider, which has a `grid` of the values that were computed, the place of the nearest one. */
function closest(slider, value) {
  const away = slider.grid.map((one) => Math.abs(turned(one, slider) - turned(value, slider)));
  return away.indexOf(Math.min(...away));
}

function nearest(slider, value) {
  const inside = Math.min(Math.max(value, slider.low), slider.high);
  return at(slider, index(slider, inside));
}

const short = (value) => String(Number(Number(value).toPrecision(4)));
const turned = (value, axis) => (axis.log ? Math.log10(value) : value);
const between = (a, b, share) => a + (b - a) * share;

/** Where a value lies on an axis: 0 at its low end, 1 at its high end; NaN where there is nothing to draw. */
function unit(value, axis) {
  if (value === null || (axis.log && value <= 0)) return NaN;
  const low = turned(axis.low, axis);
  return (turned(value, axis) - low) / (turned(axis.high, axis) - low);
}

function valueAt(share, axis) {
  const value = between(turned(axis.low, axis), turned(axis.high, axis), share);
  return axis.log ? 10 ** value : value;
}

/** [value, words] of the ticks: those that the scene names, powers of ten, or about `count` round numbers. */
function ticksOf(axis, count) {
  if (axis.ticks) return axis.ticks;
  const [low, high] = axis.low < axis.high ? [axis.low, axis.high] : [axis.high, axis.low];
  if (axis.log) {
    const found = [];
    for (let k = Math.ceil(Math.log10(low) - 1e-9); k <= Math.log10(high) + 1e-9; k++) found.push(10 ** k);
    return found.map((value) => [value, short(value)]);
  }
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found.map((value) => [value, short(value).replace("-", "\u2212")]);
}

// ------------------------------------------------------------------------------------------------ elements

function html(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const star = Array.from({ length: 10 }, (_, k) => {
  const [angle, reach] = [(k * Math.PI) / 5, k % 2 ? 0.6 : 1.5];
  return [reach * Math.sin(angle), -reach * Math.cos(angle)];
});
const POLYGONS = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  D: [[0, -1.25], [1.25, 0], [0, 1.25], [-1.25, 0]],
  "^": [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]],
  v: [[0, 1.2], [1.1, -0.8], [-1.1, -0.8]],
  "*": star,
};
const digits = (value) => value.toFixed(1);

function shape(kind, x, y, r) {
  if (kind === "o") return `M${digits(x - r)} ${digits(y)}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`;
  if (kind === "+") return `M${digits(x - r)} ${digits(y)}h${2 * r}M${digits(x)} ${digits(y - r)}v${2 * r}`;
  return `M${POLYGONS[kind].map(([a, b]) => `${digits(x + a * r)} ${digits(y + b * r)}`).join("L")}z`;
}

const widths = new Map();

/** How wide words are drawn. Each is measured once, its digits taken as equally wide: measuring makes the page lay itself out. */
function widthOf(text) {
  const key = `${text.getAttribute("class")} ${text.textContent.replace(/\d/g, "0")}`;
  if (!widths.has(key)) {
    const width = text.getBBox().width;
    if (!width) return 0; // not on the page yet
    widths.set(key, width);
  }
  return widths.get(key);
}

/** Words that would stick out of their panel are moved back into it: in a narrow window they would be cut off. */
function keepInside(text, width) {
  const at = Number(text.getAttribute("x"));
  const long = widthOf(text);
  const x = at - long * ({ middle: 0.5, end: 1 }[text.getAttribute("text-anchor")] ?? 0);
  const least = 2 - x;
  const most = width - 2 - long - x;
  const shift = Math.max(Math.min(0, most), least);
  if (shift < 0 || least > 0) text.setAttribute("x", digits(at + shift));
}

/** A path through points in pixels that is broken where there is none. */
function path(xs, ys) {
  let text = "";
  let pen = "M";
  for (let i = 0; i < xs.length; i++) {
    if (Number.isFinite(xs[i]) && Number.isFinite(ys[i])) {
      text += `${pen}${digits(xs[i])} ${digits(ys[i])}`;
      pen = "L";
    } else pen = "M";
  }
  return text;
}

// ------------------------------------------------------------------------------------------------ marks

const ARRAYS = { line: ["x", "y"], band: ["x", "low", "high"], dots: ["x", "y"], span: ["x", "y", "x1", "y1"] };
ARRAYS.rule = ["at"];
ARRAYS.text = ["x", "y"];
ARRAYS.heat = ["x", "y"];
const sideOf = (mark, name) => (mark.kind === "rule" ? mark.axis : name[0] === "x" ? "x" : "y");

/** One mark on a panel: what it shows now and what it glides to, both in units of the panel. */
class Mark {
  constructor(panel) {
    this.panel = panel;
    this.element = svg("g");
    this.now = {};
    this.goal = {};
  }

  aim(mark) {
    const before = this.mark;
    const fresh = !before || before.kind !== mark.kind;
    const look = ["cls", "weight", "size", "shape"].some((name) => fresh || `${before[name]}` !== `${mark[name]}`);
    if (look) {
      const plus = mark.shape === "+" ? "plus" : mark.size < 6 ? "small" : "";
      const was = mark.was ? "was" : "";
      this.element.setAttribute("class", `mark ${mark.kind} ${mark.cls} ${mark.weight} ${plus} ${was}`);
      if (!["dots", "text"].includes(mark.kind)) this.element.setAttribute("clip-path", `url(#${this.panel.clip})`);
      this.element.replaceChildren();
    }
    this.mark = mark;
    this.start = {};
    this.moving = look || ["text", "heat"].includes(mark.kind);
    for (const name of ARRAYS[mark.kind]) {
      const axis = this.panel.spec[sideOf(mark, name)];
      const goal = mark[name].map((value) => unit(value, axis));
      const now = this.now[name];
      this.goal[name] = goal;
      this.start[name] = goal.map((value, k) => (fresh || !now || !Number.isFinite(now[k]) ? value : now[k]));
      // What is NaN is not drawn, so coming and going are moves as well.
      const same = (a, b) => Math.abs(a - b) <= 1e-5 || (Number.isNaN(a) && Number.isNaN(b));
      this.moving ||= !now || now.length !== goal.length || goal.some((value, k) => !same(now[k], value));
    }
  }

  glide(share) {
    for (const name of ARRAYS[this.mark.kind]) {
      const [start, goal] = [this.start[name], this.goal[name]];
      this.now[name] = share >= 1 ? goal : goal.map((value, k) => between(start[k], value, share));
    }
    this.draw();
    if (share >= 1) this.moving = false;
  }

  only(tag) {
    if (!this.element.firstChild) this.element.append(svg(tag));
    return this.element.firstChild;
  }

  draw() {
    const { mark, now, panel } = this;
    const [px, py] = [(u) => panel.px(u), (u) => panel.py(u)];
    const pixels = (name) => now[name].map(name[0] === "x" ? px : py);
    if (mark.kind === "line") {
      const [xs, ys] = [pixels("x"), pixels("y")];
      let text = "";
      for (let from = 0; from < ys.length; from += xs.length) text += path(xs, ys.slice(from, from + xs.length));
      this.only("path").setAttribute("d", text);
    } else if (mark.kind === "band") {
      const xs = pixels("x");
      const edge = path([...xs, ...[...xs].reverse()], [...pixels("high"), ...pixels("low").reverse()]);
      this.only("path").setAttribute("d", `${edge}z`);
    } else if (mark.kind === "span") {
      const [xs, ys, ends, feet] = ["x", "y", "x1", "y1"].map(pixels);
      this.only("path").setAttribute("d", xs.map((x, k) => path([x, ends[k]], [ys[k], feet[k]])).join(""));
    } else if (mark.kind === "rule") {
      const across = mark.axis === "x";
      const one = (u) => (across ? `M${digits(px(u))} ${py(0)}V${py(1)}` : `M${px(0)} ${digits(py(u))}H${px(1)}`);
      this.only("path").setAttribute("d", now.at.filter(Number.isFinite).map(one).join(""));
    } else if (mark.kind === "dots") {
      const seen = (u) => u > -0.002 && u < 1.002;
      const one = (x, k) => (seen(x) && seen(now.y[k]) ? shape(mark.shape, px(x), py(now.y[k]), mark.size / 2) : "");
      this.only("path").setAttribute("d", now.x.map(one).join(""));
    } else if (mark.kind === "text") this.drawText(pixels("x"), pixels("y"));
    else this.drawHeat();
  }

  drawText(xs, ys) {
    const { text, anchor } = this.mark;
    while (this.element.childElementCount > text.length) this.element.lastChild.remove();
    while (this.element.childElementCount < text.length) this.element.append(svg("text"));
    text.forEach((words, k) => {
      const one = this.element.children[k];
      one.textContent = Number.isFinite(xs[k] + ys[k]) ? words : "";
      one.setAttribute("text-anchor", anchor);
      one.setAttribute("x", digits(xs[k] || 0));
      one.setAttribute("y", digits(ys[k] || 0));
      // Measured only where it may be needed, because measuring is slow.
      const [reach, width] = [9 * words.length, this.panel.size[0]];
      if (xs[k] > 0 && xs[k] < width && (xs[k] < reach || xs[k] > width - reach)) keepInside(one, width);
    });
  }

  /** A shade: an area in the colour of its meaning, let through where the numbers are high. */
  drawHeat() {
    const { mark, panel, now } = this;
    if (!this.element.firstChild) {
      this.name = `${panel.clip}-${Math.random().toString(36).slice(2)}`;
      this.image = svg("image", { preserveAspectRatio: "none" });
      this.area = svg("rect", { mask: `url(#${this.name})` });
      this.element.append(svg("mask", { id: this.name }, this.image), this.area);
      this.bytes = null;
    }
    if (this.bytes !== mark.z) {
      this.bytes = mark.z;
      const [rows, columns] = mark.shape;
      const canvas = html("canvas", { width: columns, height: rows });
      const paper = canvas.getContext("2d");
      const picture = paper.createImageData(columns, rows);
      const bytes = Uint8Array.from(atob(mark.z), (letter) => letter.charCodeAt(0));
      bytes.forEach((level, k) => picture.data.set([255, 255, 255, level], 4 * k));
      paper.putImageData(picture, 0, 0);
      this.image.setAttribute("href", canvas.toDataURL());
    }
    const [left, right] = now.x.map((u) => panel.px(u));
    const [bottom, top] = now.y.map((u) => panel.py(u));
    for (const part of [this.image, this.area]) {
      const place = { x: left, y: top, width: Math.max(right - left, 0), height: Math.max(bottom - top, 0) };
      for (const [name, value] of Object.entries(place)) part.setAttribute(name, value);
    }
  }
}

// ------------------------------------------------------------------------------------------------ panels

class Panel {
  constructor(stage, name) {
    this.stage = stage;
    this.name = name;
    // Every widget has a copy of this script, so a number that counts up would not do.
    this.clip = `mefit-${Math.random().toString(36).slice(2)}-${name}`;
    this.marks = new Map();
    this.handles = new Map();
    this.size = [0, 0];
    this.window = svg("rect");
    this.ground = svg("rect", { class: "ground" });
    this.axes = svg("g", { class: "axes" });
    this.layer = svg("g");
    this.grips = svg("g");
    const clip = svg("clipPath", { id: this.clip }, this.window);
    this.svg = svg("svg", {}, svg("defs", {}, clip), this.ground, this.axes, this.layer, this.grips);
    this.element = html("div", { class: "panel", style: `grid-area:${name}` }, this.svg);
    this.ground.addEventListener("pointerdown", (event) => this.leap(event));
    const still = (event) => this.svg.classList.contains("pad") && event.preventDefault();
    this.ground.addEventListener("touchstart", still, { passive: false });
  }

  px(u) {
    return this.left + u * (this.size[0] - this.left - this.right);
  }

  py(u) {
    return this.size[1] - this.bottom - u * (this.size[1] - this.bottom - this.top);
  }

  resize() {
    // Not its rectangle on the screen, which is larger where the page is enlarged by CSS, as on a projector.
    this.size = [this.element.clientWidth, this.element.clientHeight];
    this.svg.setAttribute("width", this.size[0]);
    this.svg.setAttribute("height", this.size[1]);
    if (this.spec) this.redraw();
  }

  aim(spec, marks) {
    const before = this.spec;
    this.spec = spec;
    this.start = this.limits ?? { x: spec.x, y: spec.y };
    const edges = (axis) => [axis.low, axis.high, axis.log, axis.label, JSON.stringify(axis.ticks)].join();
    this.moved = !before || edges(before.x) + edges(before.y) !== edges(spec.x) + edges(spec.y);
    this.moved ||= before.title !== spec.title || before.cls !== spec.cls;
    const order = [...this.marks.keys()].join("\n");
    for (const id of [...this.marks.keys()]) {
      if (!marks.some((mark) => mark.id === id)) {
        this.marks.get(id).element.remove();
        this.marks.delete(id);
      }
    }
    for (const mark of marks) {
      if (!this.marks.has(mark.id)) this.marks.set(mark.id, new Mark(this));
      this.marks.get(mark.id).aim(mark);
    }
    if (order !== marks.map((mark) => mark.id).join("\n")) {
      this.marks = new Map(marks.map((mark) => [mark.id, this.marks.get(mark.id)]));
      this.layer.replaceChildren(...[...this.marks.values()].map((mark) => mark.element));
    }
    this.makeHandles(marks);
  }

  /** A handle for every drag. Those that were there stay where they are: a hand may be on one of them. */
  makeHandles(marks) {
    const wanted = new Map();
    for (const mark of marks)
      for (const drag of mark.drag) wanted.set([mark.id, drag.x, drag.y, drag.index, mark.cls].join("\n"), { mark, drag });
    for (const [key, handle] of this.handles) {
      if (wanted.has(key)) continue;
      handle.drop();
      handle.element.remove();
      this.handles.delete(key);
    }
    for (const [key, { mark, drag }] of wanted) {
      if (!this.handles.has(key)) {
        this.handles.set(key, new Handle(this, mark, drag));
        this.grips.append(this.handles.get(key).element);
      }
      this.handles.get(key).drag = drag;
    }
    this.svg.classList.toggle("pad", [...wanted.values()].some(({ drag }) => drag.x && drag.y));
  }

  glide(share) {
    const all = this.moved;
    if (this.moved) {
      this.limits = {};
      for (const side of ["x", "y"]) {
        const [from, to] = [this.start[side], this.spec[side]];
        const alike = from.log === to.log && share < 1;
        const edge = (name) => {
          const value = between(turned(from[name], to), turned(to[name], to), share);
          return to.log ? 10 ** value : value;
        };
        this.limits[side] = alike ? { ...to, low: edge("low"), high: edge("high") } : to;
      }
      this.drawAxes();
      if (share >= 1) this.moved = false;
    }
    for (const mark of this.marks.values()) {
      if (mark.moving) mark.glide(share);
      else if (all) mark.draw();
    }
    this.ride();
  }

  ride() {
    for (const handle of this.handles.values()) handle.ride();
  }

  redraw() {
    this.drawAxes();
    for (const mark of this.marks.values()) if (mark.now[ARRAYS[mark.mark.kind][0]]) mark.draw();
    this.ride();
  }

  drawAxes() {
    const [width, height] = this.size;
    const { x, y } = this.limits;
    const lines = svg("g");
    this.bottom = x.label ? 46 : 26;
    this.top = this.spec.title ? 28 : 12;
    const ups = ticksOf(y, Math.max(2, (height - this.bottom - this.top) / 55));
    const longest = Math.max(0, ...ups.map(([, words]) => words.length));
    this.left = 14 + 7.4 * longest + (y.label ? 20 : 0);
    this.right = 20;
    const [l, r, t, b] = [this.px(0), this.px(1), this.py(1), this.py(0)];
    for (const rect of [this.window, this.ground]) {
      for (const [name, value] of Object.entries({ x: l, y: t, width: Math.max(r - l, 0), height: Math.max(b - t, 0) }))
        rect.setAttribute(name, value);
    }
    lines.append(svg("path", { d: `M${l} ${t}V${b}H${r}` }));
    for (const [value, words] of ticksOf(x, Math.max(2, (r - l) / 75))) {
      const place = this.px(unit(value, x));
      if (place < l - 1 || place > r + 1) continue;
      lines.append(svg("path", { d: `M${place} ${b}v5` }));
      lines.append(svg("text", { x: place, y: b + 19, "text-anchor": "middle" }, words));
    }
    for (const [value, words] of ups) {
      const place = this.py(unit(value, y));
      if (place < t - 1 || place > b + 1) continue;
      lines.append(svg("path", { d: `M${l} ${place}h-5` }));
      lines.append(svg("text", { x: l - 9, y: place + 4.5, "text-anchor": "end" }, words));
    }
    const along = svg("text", { x: (l + r) / 2, y: height - 7, "text-anchor": "middle", class: "label" }, x.label);
    if (x.label) lines.append(along);
    const turn = `translate(13 ${(t + b) / 2}) rotate(-90)`;
    if (y.label) lines.append(svg("text", { transform: turn, "text-anchor": "middle", class: "label" }, y.label));
    const title = svg("text", { x: l, y: 17, class: `title ${this.spec.cls}` }, this.spec.title);
    if (this.spec.title) lines.append(title);
    this.axes.replaceChildren(...lines.children);
    for (const words of [along, title]) if (words.isConnected) keepInside(words, width);
  }

  /** The values under a pointer, in the data of this panel. */
  under(event) {
    const box = this.svg.getBoundingClientRect();
    const u = ((event.clientX - box.left) * (this.size[0] / box.width) - this.px(0)) / (this.px(1) - this.px(0));
    const v = ((event.clientY - box.top) * (this.size[1] / box.height) - this.py(0)) / (this.py(1) - this.py(0));
    return { u, v };
  }

  /** On a plane, where a handle moves both ways, it comes to where one points. */
  leap(event) {
    const handle = [...this.handles.values()].find(({ drag }) => drag.x && drag.y);
    if (handle) handle.take(event, true);
  }
}

// ------------------------------------------------------------------------------------------------ handles

/** A mark that can be taken hold of, by mouse, finger or keyboard: it moves one control, or two. */
class Handle {
  constructor(panel, mark, drag) {
    this.panel = panel;
    this.id = mark.id;
    this.drag = drag;
    this.held = false;
    this.offset = [0, 0];
    const free = drag.x && drag.y ? "both" : drag.x ? "across" : "upright";
    this.element = svg("g", { class: `handle ${mark.cls} ${free}`, role: "slider", tabindex: 0 });
    this.element.append(svg("circle", { r: 20, class: "reach" }), svg("circle", { r: 12, class: "ring" }));
    this.element.setAttribute("aria-orientation", drag.x ? "horizontal" : "vertical");
    this.element.addEventListener("pointerdown", (event) => this.take(event, false));
    this.element.addEventListener("pointermove", (event) => this.held && this.follow(event));
    // Without this a finger would scroll the page after a few pixels, whatever the style sheet says.
    this.element.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    for (const end of ["pointerup", "pointercancel"]) this.element.addEventListener(end, () => this.drop());
    this.element.addEventListener("keydown", (event) => this.pressed(event));
  }

  get stage() {
    return this.panel.stage;
  }

  slider(side) {
    return this.drag[side] && this.stage.controls.get(this.drag[side]);
  }

  /** Where it stands, in units of the panel; at the edge, in reach, where it would be beyond. */
  place() {
    return this.aims().map((share) => Math.min(Math.max(share, 0), 1));
  }

  /** Where its controls say that it is, on its curve, or where its mark is. */
  aims() {
    const { spec, marks } = this.panel;
    const { mark, now } = marks.get(this.id);
    const own = (side) => (mark.kind === "rule" ? (mark.axis === side ? now.at[0] : 0.94) : now[side][this.drag.index]);
    const value = (side) => this.stage.values[this.drag[side]] * this.drag[`scale_${side}`];
    const u = this.drag.x ? unit(value("x"), spec.x) : own("x");
    if (this.drag.y) return [u, unit(value("y"), spec.y)];
    const curve = this.drag.along && marks.get(this.drag.along)?.now;
    if (!curve) return [u, own("y")];
    const k = curve.x.findIndex((x) => x >= u);
    if (k <= 0) return [u, curve.y[k === 0 ? 0 : curve.x.length - 1]];
    return [u, between(curve.y[k - 1], curve.y[k], (u - curve.x[k - 1]) / (curve.x[k] - curve.x[k - 1]))];
  }

  ride() {
    const held = this.panel.marks.get(this.id);
    if (!held?.now) return;
    const [u, v] = this.place();
    if (!Number.isFinite(u + v)) {
      this.element.setAttribute("visibility", "hidden");
      return;
    }
    this.element.setAttribute("visibility", "visible");
    this.element.setAttribute("transform", `translate(${digits(this.panel.px(u))} ${digits(this.panel.py(v))})`);
    if (held.mark.kind === "dots") {
      const [xs, ys] = [[...held.now.x], [...held.now.y]];
      [xs[this.drag.index], ys[this.drag.index]] = [u, v];
      held.now = { x: xs, y: ys };
      held.draw();
    }
    const sides = ["x", "y"].filter((side) => this.drag[side]);
    const told = (side) => {
      const slider = this.slider(side);
      return `${slider.label} ${short(this.stage.values[this.drag[side]])} ${slider.unit}`.trim();
    };
    const first = this.slider(sides[0]);
    this.element.setAttribute("aria-label", sides.map((side) => this.slider(side).label).join(" and "));
    this.element.setAttribute("aria-valuemin", first.low);
    this.element.setAttribute("aria-valuemax", first.high);
    this.element.setAttribute("aria-valuenow", this.stage.values[this.drag[sides[0]]]);
    this.element.setAttribute("aria-valuetext", sides.map(told).join(", "));
  }

  take(event, here) {
    if (event.button) return;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    this.element.setPointerCapture(event.pointerId);
    this.held = true;
    this.stage.grip();
    this.stage.held = true;
    const [u, v] = this.place();
    const under = this.panel.under(event);
    this.offset = here ? [0, 0] : [u - under.u, v - under.v];
    if (here) this.follow(event);
  }

  follow(event) {
    const { u, v } = this.panel.under(event);
    const shares = { x: u + this.offset[0], y: v + this.offset[1] };
    const values = {};
    for (const side of ["x", "y"]) {
      if (!this.drag[side]) continue;
      const value = valueAt(shares[side], this.panel.spec[side]) / this.drag[`scale_${side}`];
      values[this.drag[side]] = nearest(this.slider(side), value);
    }
    this.stage.move(values, this.stage.setup.live);
  }

  drop() {
    if (!this.held) return;
    this.held = false;
    this.stage.held = false;
    this.stage.move({}, true);
  }

  pressed(event) {
    const ways = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] };
    Object.assign(ways, { PageUp: ["y", 10], PageDown: ["y", -10], Home: ["x", -Infinity], End: ["x", Infinity] });
    const way = ways[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    let [side, steps] = way;
    if (!this.drag[side]) side = side === "x" ? "y" : "x";
    const axis = this.panel.spec[side];
    const slider = this.slider(side);
    const name = this.drag[side];
    // On an axis that runs the other way an arrow still goes where it points.
    const points = event.key.startsWith("Arrow") && way[0] === side && axis.low > axis.high ? -1 : 1;
    const goal = index(slider, this.stage.values[name]) + steps * points * (event.shiftKey ? 10 : 1);
    this.stage.move({ [name]: at(slider, Math.min(Math.max(goal, 0), index(slider, slider.high))) }, true);
  }
}

// ------------------------------------------------------------------------------------------------ the stage

/** JupyterLab takes plain letters and arrows for commands: those stay here. Ctrl + S, and what runs a cell, go to it. */
function keepKeys(root) {
  root.addEventListener("keydown", (event) => {
    const runs = event.key === "Enter" && (event.shiftKey || event.altKey);
    if (!event.ctrlKey && !event.metaKey && !runs) event.stopPropagation();
  });
}

const GLIDE = 70; // milliseconds from one state to the next
const WALK = 1200; // milliseconds of a move to try
const REST = 800; // milliseconds without a change, after which the picture is a state to look back at
const IN_FLIGHT = 2; // moves on their way to Python; the newest of the others waits

/** What the page shows of a view of Python: it hears of new states, follows its width, and says if no kernel answers. */
class View {
  constructor(model) {
    this.model = model;
    this.setup = model.get("setup");
    this.rest = html("p", { class: "rest" }, "At rest. Run this cell to bring it to life.");
    this.rest.hidden = true;
  }

  /** Show the state, and begin to hear of others; without a word from Python for so many milliseconds it is at rest. */
  listen(patience) {
    keepKeys(this.root);
    this.answer = () => this.show(JSON.parse(this.model.get("shown")));
    this.hear = (message) => message.kind === "here" && this.wake();
    this.model.on("change:shown", this.answer);
    this.model.on("msg:custom", this.hear);
    this.watch = new ResizeObserver(() => this.resize());
    this.watch.observe(this.root);
    this.resize();
    this.answer();
    this.model.send({ kind: "hello" });
    this.asked = setTimeout(() => this.atRest(), patience);
  }

  atRest() {
    this.rest.hidden = false;
  }

  wake() {
    clearTimeout(this.asked);
    this.rest.hidden = true;
    this.root.dataset.awake = "yes";
  }

  close() {
    this.model.off("change:shown", this.answer);
    this.model.off("msg:custom", this.hear);
    this.watch.disconnect();
    clearTimeout(this.asked);
  }
}

class Stage extends View {
  constructor(model, element) {
    super(model);
    this.controls = new Map(this.setup.controls);
    this.values = {};
    this.who = Math.random().toString(36).slice(2);
    this.sent = 0;
    this.answered = 0;
    this.held = false;
    this.ghosts = [];
    this.begins = false; // a hand has begun a move, and the picture has not changed yet
    this.changed = 0;
    this.stop = null; // ends what moves by itself
    this.shows = [];
    this.root = html("div", { class: "mefit-stage" });
    this.bar = html("div", { class: "controls" });
    this.legend = html("div", { class: "legend", "aria-hidden": "true" });
    this.grid = html("div", { class: "panels", role: "group", "aria-label": this.setup.alt });
    this.says = html("p", { class: "says", "aria-live": "polite" });
    this.more = html("details", {}, html("summary", {}, "Numbers"), html("p"));
    this.alert = html("p", { class: "alert" });
    this.root.append(this.bar, this.legend, this.grid, this.says, this.more, this.alert, this.rest);
    element.append(this.root);
    for (const [name, control] of this.setup.controls) this.bar.append(this.row(name, control));
    this.addButtons();
    const names = [...new Set(this.setup.layout.flatMap((row) => row.split(" ")))].filter((name) => name !== ".");
    this.panels = new Map(names.map((name) => [name, new Panel(this, name)]));
    this.grid.append(...[...this.panels.values()].map((panel) => panel.element));
    this.listen(2000);
  }

  close() {
    super.close();
    cancelAnimationFrame(this.frame);
    this.halt();
  }

  resize() {
    const width = this.root.clientWidth;
    if (!width || width === this.width) return;
    this.width = width;
    const narrow = width < 620;
    const { layout, widths, heights, aspect } = this.setup;
    const names = [...this.panels.keys()];
    const most = Math.max(320, (0.48 * window.innerHeight) / (this.root.currentCSSZoom ?? 1));
    const height = Math.round(Math.min(Math.max(width * aspect, 300), most));
    const rows = (narrow ? names : layout).map((row) => `"${row}"`).join(" ");
    this.grid.style.gridTemplateAreas = rows;
    this.grid.style.gridTemplateColumns = narrow ? "100%" : widths.map((w) => `minmax(0, ${w}fr)`).join(" ");
    // One below the other, a panel that is as high as several others side by side stays higher than they are.
    const rowsOf = (name) => layout.filter((row) => row.split(" ").includes(name)).length;
    const alone = (name) => `${Math.min((names.length > 4 ? 180 : 260) * rowsOf(name), 300)}px`;
    const tall = narrow ? names.map(alone) : heights.map((h) => `minmax(0, ${h}fr)`);
    this.grid.style.gridTemplateRows = tall.join(" ");
    this.grid.style.height = narrow ? "auto" : `${height}px`;
    for (const panel of this.panels.values()) panel.resize();
  }

  // A move

  /** Values from a hand: they end what moves by itself. */
  move(values, send) {
    this.halt();
    this.go(values, send);
  }

  /** A hand takes hold of something: from now on the last state is the one before this move. */
  grip() {
    this.halt();
    this.begins = true;
  }

  halt() {
    const stop = this.stop;
    this.stop = null;
    if (stop) stop();
  }

  /** Values are shown at once, and sent if `send`. */
  go(values, send) {
    this.values = { ...this.values, ...values };
    this.showValues();
    for (const panel of this.panels.values()) panel.ride();
    if (send) {
      this.waiting = this.values;
      this.free();
    }
  }

  free() {
    if (!this.waiting || this.sent - this.answered >= IN_FLIGHT) return;
    this.sent += 1;
    const turn = this.sent;
    this.model.send({ kind: "move", who: this.who, turn, values: this.waiting });
    this.waiting = null;
    // A kernel that was restarted never answers.
    setTimeout(() => {
      if (this.answered < turn) this.answered = turn;
      this.free();
    }, 15000);
  }

  show(told) {
    if (told.who === this.who) this.answered = Math.max(this.answered, told.turn);
    // While a hand moves something, what Python answers is already old.
    const behind = told.who === this.who && (this.waiting || this.answered < this.sent);
    if (!this.held && !behind) this.values = told.values;
    this.says.textContent = told.say;
    this.more.lastChild.textContent = told.more;
    this.more.hidden = !told.more;
    this.alert.textContent = told.error ? `\u26a0 ${told.error}` : "";
    if (told.error) this.alert.setAttribute("role", "alert");
    else this.alert.removeAttribute("role");
    const scene = JSON.stringify(told.scene);
    if (scene !== this.scene) {
      this.scene = scene;
      this.haunt(told.scene.marks);
      const layers = this.layers(told.scene.marks);
      for (const spec of told.scene.panels) {
        const marks = layers.filter((mark) => mark.panel === spec.name);
        this.panels.get(spec.name).aim(spec, marks);
      }
      this.showLegend(told.scene.marks);
      const still = !this.began || matchMedia("(prefers-reduced-motion: reduce)").matches;
      this.began = performance.now() - (still ? GLIDE : 0);
      cancelAnimationFrame(this.frame);
      this.step();
    }
    this.root.dataset.seq = told.seq;
    this.showValues();
    for (const panel of this.panels.values()) panel.ride();
    this.free();
  }

  /** Keep the state before the move that now begins, of those marks that ask for it. */
  haunt(marks) {
    const now = performance.now();
    const rested = !this.held && !this.stop && now - this.changed > REST;
    if (this.drawn && (this.begins || rested)) {
      const fade = (mark) => ({ ...mark, id: `before ${mark.id}`, was: true, drag: [], label: "" });
      this.ghosts = this.drawn.filter((mark) => mark.ghost).map(fade);
    }
    this.begins = false;
    this.changed = now;
    this.drawn = marks;
  }

  /** The marks from the lowest: areas, then what was before, then all that is now. */
  layers(marks) {
    const first = marks.findIndex((mark) => !["heat", "band"].includes(mark.kind));
    const place = first < 0 ? marks.length : first;
    return [...marks.slice(0, place), ...this.ghosts, ...marks.slice(place)];
  }

  step() {
    const share = Math.min(1, (performance.now() - this.began) / GLIDE);
    for (const panel of this.panels.values()) panel.glide(share);
    if (share < 1) this.frame = requestAnimationFrame(() => this.step());
  }

  showLegend(marks) {
    const told = marks.filter((mark) => mark.label);
    const ghost = marks.find((mark) => mark.ghost);
    if (ghost) told.push({ ...ghost, kind: "line", was: true, label: "before the last move" });
    const key = JSON.stringify(told.map((mark) => [mark.label, mark.cls, mark.kind, mark.weight, mark.shape]));
    if (key === this.legendKey) return;
    this.legendKey = key;
    const swatch = (mark) => {
      const inside = {
        dots: () => svg("path", { d: shape(mark.shape, 14, 7, mark.size / 2) }),
        band: () => svg("path", { d: "M2 2H26V12H2z" }),
        heat: () => svg("rect", { x: 2, y: 2, width: 24, height: 10 }),
      };
      const line = !(mark.kind in inside); // long enough for the longest dash, a gap and the next dash
      const part = line ? svg("path", { d: "M1 7H41" }) : inside[mark.kind]();
      const names = `mark ${mark.kind} ${mark.cls} ${mark.weight} ${mark.was ? "was" : ""}`;
      return svg("svg", { width: line ? 42 : 28, height: 14 }, svg("g", { class: names }, part));
    };
    this.legend.replaceChildren(...told.map((mark) => html("span", {}, swatch(mark), mark.label)));
  }

  // Controls

  showValues() {
    for (const show of this.shows) show(this.values);
  }

  row(name, control) {
    const label = control.unit ? `${control.label} (${control.unit})` : control.label;
    if (control.kind === "slider") return this.sliderRow(name, control, label);
    if (control.kind === "switch") {
      const box = html("input", { type: "checkbox" });
      box.addEventListener("change", () => this.move({ [name]: box.checked }, true));
      this.shows.push((values) => {
        box.checked = values[name];
      });
      return html("label", { class: "control" }, box, label);
    }
    const group = html("span", { class: "choice", role: "group", "aria-label": label });
    for (const option of control.options) {
      const button = html("button", { type: "button" }, option);
      button.addEventListener("click", () => this.move({ [name]: option }, true));
      this.shows.push((values) => button.setAttribute("aria-pressed", values[name] === option));
      group.append(button);
    }
    return html("span", { class: "control" }, html("span", {}, label), group);
  }

  sliderRow(name, control, label) {
    const last = index(control, control.high);
    const range = html("input", { type: "range", min: 0, max: last, step: 1, "aria-label": label });
    const number = html("input", { type: "number", min: control.low, max: control.high, step: "any" });
    range.addEventListener("pointerdown", () => this.grip());
    range.addEventListener("input", () => this.move({ [name]: at(control, Number(range.value)) }, this.setup.live));
    range.addEventListener("change", () => this.setup.live || this.move({}, true));
    number.addEventListener("change", () => {
      const typed = Number(number.value);
      if (number.value === "" || !Number.isFinite(typed)) return this.showValues();
      const inside = Math.min(Math.max(typed, control.low), control.high);
      const taken = control.grid ? nearest(control, inside) : control.whole ? Math.round(inside) : inside;
      return this.move({ [name]: taken }, true);
    });
    // In a box an arrow goes one step of the slider, as in the picture, and not by 1.
    number.addEventListener("keydown", (event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!way) return;
      event.preventDefault();
      const goal = Math.min(Math.max(index(control, this.values[name]) + way, 0), last);
      this.move({ [name]: at(control, goal) }, true);
    });
    this.shows.push((values) => {
      const value = values[name];
      range.value = index(control, value);
      range.setAttribute("aria-valuetext", `${short(value)} ${control.unit}`.trim());
      if (Number(number.value) !== value || number.value === "") number.value = value;
    });
    const tag = html("label", {}, label, number);
    const row = html("span", { class: "control" }, tag, range);
    tag.after(range);
    if (control.play) row.append(this.playButton(name, control, last));
    return row;
  }

  playButton(name, control, last) {
    const button = html("button", { type: "button", "aria-label": `Play ${control.label}` }, "\u25b6");
    let clock = null;
    const stop = () => {
      clearInterval(clock);
      clock = null;
      button.textContent = "\u25b6";
    };
    button.addEventListener("click", () => {
      const again = clock;
      this.grip();
      if (again) return;
      if (index(control, this.values[name]) >= last) this.go({ [name]: control.low }, true);
      button.textContent = "\u275a\u275a";
      this.stop = stop;
      clock = setInterval(() => {
        const next = index(control, this.values[name]) + 1;
        if (next > last || !this.root.isConnected) this.halt();
        else this.go({ [name]: at(control, next) }, true);
      }, 250);
    });
    return button;
  }

  addButtons() {
    const reset = html("button", { type: "button" }, "Reset");
    const first = () => Object.fromEntries(this.setup.controls.map(([name, control]) => [name, control.value]));
    reset.addEventListener("click", () => this.move(first(), true));
    this.bar.append(reset);
    if (!this.setup.tries.length) return;
    const row = html("div", { class: "tries" }, html("span", {}, "Try:"));
    for (const [words, values] of this.setup.tries) {
      const button = html("button", { type: "button" }, words);
      button.addEventListener("click", () => this.walk(button, values));
      row.append(button);
    }
    this.bar.after(row);
  }

  /** Play a move: the values go there as by a hand. The button, pressed again, or any hand stops it. */
  walk(button, goal) {
    const again = button.getAttribute("aria-pressed") === "true";
    this.grip();
    if (again) return;
    const [start, began] = [this.values, performance.now()];
    const leap = !this.setup.live || matchMedia("(prefers-reduced-motion: reduce)").matches;
    let frame = null;
    this.stop = () => {
      cancelAnimationFrame(frame);
      button.setAttribute("aria-pressed", "false");
    };
    button.setAttribute("aria-pressed", "true");
    const step = () => {
      const share = leap ? 1 : Math.min(1, (performance.now() - began) / WALK);
      const values = {};
      for (const [name, value] of Object.entries(goal)) {
        const control = this.controls.get(name);
        const sliding = control.kind === "slider" && share < 1;
        const [from, to] = sliding ? [index(control, start[name]), index(control, value)] : [0, 0];
        values[name] = sliding ? at(control, Math.round(between(from, to, share))) : value;
      }
      this.go(values, true);
      if (share < 1 && this.root.isConnected) frame = requestAnimationFrame(step);
      else this.halt();
    };
    step();
  }
}

/** A view, made once there is something to show: on a busy computer its place on the page can come before its state. */
function whenShown(model, make) {
  let view = null;
  const begin = () => {
    if (view || !model.get("shown")) return;
    model.off("change:shown", begin);
    view = make();
  };
  model.on("change:shown", begin);
  begin();
  return () => {
    model.off("change:shown", begin);
    view?.close();
  };
}

export default {
  render({ model, el }) {
    return whenShown(model, () => new Stage(model, el));
  },
};
