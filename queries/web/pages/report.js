// Tables, charts and cards of the report. The page holds the data; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const FIRST_ROWS = 200;

function element(name, text, attributes = {}) {
  const node = document.createElement(name);
  if (text !== undefined && text !== null) node.textContent = text;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function shown(value) {
  if (value === null || value === undefined) return "·";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return Array.isArray(value) ? value.map(shown).join(", ") : String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  const size = Math.abs(value);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

function compare(a, b) {
  // Unknown values come last in both directions.
  if (a === null || b === null) return null;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function table(container, columns, rows, links = {}) {
  const numeric = columns.map((_, at) => rows.some((row) => typeof row[at] === "number"));
  let sorted = { at: -1, down: false }, all = false;
  const filter = element("input", null, { type: "search", placeholder: "Filter", "aria-label": `Filter ${container.dataset.label}` });
  const count = element("span", "", { class: "count", role: "status" });
  const tools = element("div", null, { class: "tools" });
  tools.append(filter, count);
  const grid = element("table"), head = element("tr"), body = element("tbody");
  grid.append(element("caption", container.dataset.label, { class: "quiet" }));
  columns.forEach((name, at) => {
    const cell = element("th", null, { scope: "col", class: numeric[at] ? "number" : "" });
    const button = element("button", name, { type: "button" });
    button.addEventListener("click", () => {
      sorted = { at, down: sorted.at === at ? !sorted.down : numeric[at] };
      draw();
    });
    cell.append(button);
    head.append(cell);
  });
  const header = element("thead");
  header.append(head);
  grid.append(header, body);
  const scroll = element("div", null, { class: "scroll", tabindex: "0", role: "region", "aria-label": container.dataset.label });
  scroll.append(grid);
  const more = element("button", "Show all", { type: "button" });
  more.addEventListener("click", () => { all = true; draw(); });
  filter.addEventListener("input", () => draw());

  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matches = rows.filter((row) => {
      const text = row.map(shown).join(" ").toLowerCase();
      return words.every((word) => text.includes(word));
    });
    if (sorted.at >= 0) {
      matches = [...matches].sort((a, b) => {
        const order = compare(a[sorted.at], b[sorted.at]);
        if (order === null) return (a[sorted.at] === null) - (b[sorted.at] === null);
        return sorted.down ? -order : order;
      });
    }
    [...head.children].forEach((cell, at) => {
      if (at === sorted.at) cell.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    });
    const visible = all ? matches : matches.slice(0, FIRST_ROWS);
    body.replaceChildren(...visible.map((row) => {
      const line = element("tr");
      columns.forEach((name, at) => {
        const cell = element("td", null, { class: numeric[at] ? "number" : "" });
        const target = links[name] && links[name](row);
        if (target) cell.append(element("a", shown(row[at]), { href: target }));
        else cell.textContent = shown(row[at]);
        line.append(cell);
      });
      return line;
    }));
    count.textContent = `${matches.length} of ${rows.length}`;
    more.hidden = visible.length === matches.length;
  }
  draw();
  container.replaceChildren(tools, scroll, more);
}

// ast: expressions are interpreted, so that the page needs no eval.
const CHARTS = { renderer: "svg", actions: false, ast: true, loader: { target: "_self" } };

async function chart(container, spec) {
  try {
    await vegaEmbed(container, spec, CHARTS);
    container.querySelector("svg")?.setAttribute("aria-hidden", "true"); // the figure's label describes it
  } catch (error) {
    container.replaceChildren(element("p", `This chart cannot be drawn: ${error.message}`, { class: "problem" }));
  }
}

function withData(spec, datasets) {
  return { ...spec, datasets: { ...spec.datasets, ...datasets } };
}

function bars(counts, step) {
  return counts.map((count, at) => ({ norm: at * step, end: (at + 1) * step, count }));
}

function shares(exponents) {
  const total = (counts) => counts.reduce((sum, count) => sum + count, 0);
  return Object.entries({ dead: exponents.dead, live: exponents.live }).flatMap(([rows, counts]) => {
    const all = total(counts);
    return all ? counts.map((count, at) => ({ exponent: exponents.first + at, rows, share: count / all, count })) : [];
  });
}

function scree(model) {
  // A family's line is broad, as others lie on it.
  const { shares: at, families, colours } = data.spectra, family = families[model.family];
  const curves = { ...(family && { [family.name]: family.curve }), ...model.curves };
  const names = Object.keys(curves), spec = structuredClone(data.specs.spectrum);
  spec.encoding.color.scale = { domain: names, range: names.map((name) => colours[name] ?? colours[""]) };
  const points = names.flatMap((name) => curves[name].flatMap((value, number) =>
    value > 0 ? [{ share: at[number], value, of: name, width: colours[name] ? 1.5 : 5 }] : []));
  return withData(spec, { spectrum: points });
}

function chosenScatter([x, y]) {
  const { spec, titles, points, figures } = data.scatter, chosen = structuredClone(spec);
  chosen.encoding.x.title = titles[x];
  chosen.encoding.y.title = titles[y];
  const shown = points.map((point, at) => ({ ...point, x: figures[x][at], y: figures[y][at] }));
  return withData(chosen, { points: shown.filter((point) => point.x !== null && point.y !== null) });
}

function offerAxes(container) {
  const figure = container.closest("figure"), tools = element("div", null, { class: "tools" });
  const caption = figure.querySelector("figcaption"), said = caption.textContent, { titles } = data.scatter;
  async function draw() {
    const [x, y] = picks.map((pick) => Number(pick.value)), isFirst = x === 0 && y === 1;
    await chart(container, isFirst ? data.charts.scatter : chosenScatter([x, y]));
    caption.textContent = isFirst ? said
      : `Models by ${titles[x]} and ${titles[y]}; size shows dead rows, colour the family. A click opens the model's card.`;
    figure.setAttribute("aria-label", caption.textContent);
  }
  const picks = ["Across", "Up"].map((name, at) => {
    const label = element("label", `${name} `), pick = element("select");
    pick.append(...titles.map((title, id) => element("option", title, { value: id })));
    pick.value = String(at);
    pick.addEventListener("change", draw);
    label.append(pick);
    tools.append(label);
    return pick;
  });
  figure.before(tools);
}

function figure(spec, caption) {
  const node = element("figure", null, { role: "img", "aria-label": caption });
  const container = element("div", null, { class: "chart" });
  node.append(container, element("figcaption", caption));
  return [node, () => chart(container, spec)];
}

function card(id) {
  const container = document.getElementById("card");
  const model = data.cards[id];
  if (!model) return;
  document.getElementById("pick").value = id;
  const facts = element("dl", null, { class: "facts" });
  data.facts.forEach((name, at) => {
    const line = element("div");
    line.append(element("dt", name), element("dd", shown(model.facts[at])));
    facts.append(line);
  });
  container.replaceChildren(element("h3", model.title), facts);
  const sides = element("div", null, { class: "sides" }), draws = [];
  if (model.norms) {
    const [node, draw] = figure(withData(data.specs.norms, { norms: bars(model.norms, data.norm_step) }),
      "Row norms in units of their median; the last bar counts all longer rows.");
    sides.append(node); draws.push(draw);
  }
  if (model.exponents) {
    const [node, draw] = figure(withData(data.specs.exponents, { exponents: shares(model.exponents) }),
      "Biased exponents of the stored numbers: dead rows against live ones.");
    sides.append(node); draws.push(draw);
  }
  if (model.curves) {
    const [node, draw] = figure(scree(model),
      "Singular values, the largest being 1, over their number: of all rows, of the live ones, and the median of the family.");
    sides.append(node); draws.push(draw);
  }
  container.append(sides);
  if (model.holes.length) {
    const holes = element("div", null, { "data-label": `Black holes of ${model.title}` });
    container.append(holes);
    table(holes, data.hole_columns, model.holes);
    if (model.more_holes) container.append(element("p", `and ${model.more_holes} smaller ones`, { class: "quiet" }));
  }
  draws.forEach((draw) => draw());
}

function openLinkedCard() {
  const id = decodeURIComponent(location.hash).match(/^#card-(\d+)$/)?.[1];
  if (id === undefined) return;
  card(id);
  document.getElementById("cards").scrollIntoView();
  document.getElementById("card").focus({ preventScroll: true });
}

const parts = [...document.querySelectorAll("h2[id]")].map((title) => element("a", title.textContent, { href: `#${title.id}` }));
document.querySelector("nav").append(...parts);
for (const container of document.querySelectorAll("[data-table]")) {
  const { columns, rows, cards } = data.tables[container.dataset.table];
  table(container, columns, rows, cards ? { repo: (row) => cards[rows.indexOf(row)] } : {});
}
(async () => {
  for (const container of document.querySelectorAll("[data-chart]")) {
    if (container.dataset.chart === "scatter" && data.scatter.titles.length > 2) offerAxes(container);
    await chart(container, data.charts[container.dataset.chart]);
    await new Promise(requestAnimationFrame); // the browser shows this chart before the next begins
  }
})();
if (data.cards.length) {
  const pick = document.getElementById("pick");
  pick.append(...data.cards.map((model, id) => element("option", model.title, { value: id })));
  pick.addEventListener("change", () => { location.hash = `#card-${pick.value}`; });
  addEventListener("hashchange", openLinkedCard);
  card(0);
  openLinkedCard();
}

