// The part of a live page that asks: SQL to /api/sql, on this page's own origin.
const question = document.getElementById("question");
const token = document.querySelector("meta[name=token]").content;
const address = (form) => `/api/sql?${new URLSearchParams({ q: question.value, format: form, _token: token })}`;

async function asked(url) {
  const response = await fetch(url, { headers: { "X-Requested-With": "survey" } });
  const found = await response.json();
  if (!response.ok) throw new Error(found.error);
  return found;
}

async function ask() {
  const place = document.getElementById("answer"), told = document.getElementById("asked");
  told.textContent = "running …";
  const began = performance.now();
  try {
    const found = await asked(address("json"));
    table(place, found.columns, found.rows);
    const seconds = ((performance.now() - began) / 1000).toFixed(2);
    told.textContent = `${found.rows.length} rows${found.truncated ? ", cut there," : ""} in ${seconds} s`;
  } catch (error) {
    told.textContent = "";
    place.replaceChildren(element("p", error.message, { class: "problem", role: "alert" }));
  }
}

function link() {
  document.getElementById("as-csv").href = address("csv");
  document.getElementById("as-parquet").href = address("parquet");
}

async function views() {
  const place = document.getElementById("views");
  for (const [view, columns] of Object.entries(await asked("/api/views"))) {
    const box = element("div", null, { "data-label": view });
    place.append(element("h3", view), box);
    table(box, ["column", "type", "unit", "meaning"], columns.map((item) => [item.name, item.type, item.unit, item.meaning]));
  }
}

document.getElementById("ask").addEventListener("click", ask);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) ask();
});
question.addEventListener("input", link);
document.querySelector("#views").closest("details").addEventListener("toggle", views, { once: true });
link();
