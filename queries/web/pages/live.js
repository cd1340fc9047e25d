// The query box of a live page: sends SQL to /api/sql, on this page's own origin.
const question = document.getElementById("question");
const token = document.querySelector("meta[name=token]").content;
const address = (form) => `/api/sql?${new URLSearchParams({ q: question.value, format: form, _token: token })}`;

async function fetchJson(url) {
  const response = await fetch(url, { headers: { "X-Requested-With": "survey" } });
  const body = await response.json();
  if (!response.ok) throw new Error(body.error);
  return body;
}

async function runQuery() {
  const container = document.getElementById("answer"), status = document.getElementById("query-status");
  status.textContent = "running …";
  const start = performance.now();
  try {
    const answer = await fetchJson(address("json"));
    table(container, answer.columns, answer.rows);
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    status.textContent = `${answer.rows.length} rows${answer.truncated ? ", truncated," : ""} in ${seconds} s`;
  } catch (error) {
    status.textContent = "";
    container.replaceChildren(element("p", error.message, { class: "problem", role: "alert" }));
  }
}

function updateLinks() {
  document.getElementById("as-csv").href = address("csv");
  document.getElementById("as-parquet").href = address("parquet");
}

async function showViews() {
  const container = document.getElementById("views");
  for (const [view, columns] of Object.entries(await fetchJson("/api/views"))) {
    const box = element("div", null, { "data-label": view });
    container.append(element("h3", view), box);
    table(box, ["column", "type", "unit", "meaning"], columns.map((item) => [item.name, item.type, item.unit, item.meaning]));
  }
}

document.getElementById("ask").addEventListener("click", runQuery);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) runQuery();
});
question.addEventListener("input", updateLinks);
document.querySelector("#views").closest("details").addEventListener("toggle", showViews, { once: true });
updateLinks();
