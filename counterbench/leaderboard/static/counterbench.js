// Filters, the choice of two models, and light or dark. Without it everything is still on the page.
"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- light and dark: the system's choice, until the button says otherwise (kept while the page may store it)
  const button = find("theme"), page = document.documentElement;
  const kept = (() => { try { return localStorage.getItem("counterbench-theme"); } catch { return null; } })();
  if (kept) page.dataset.theme = kept;
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = (page.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    page.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("counterbench-theme", page.dataset.theme); } catch { /* a page from disk may not store */ }
  });

  // --- sort: a heading is a button, so that keys work, and aria-sort says which way
  all("table.sortable thead th:not(.no-sort)").forEach((heading) => {
    const sorter = Object.assign(document.createElement("button"), { type: "button", className: "sort" });
    sorter.append(...heading.childNodes);
    heading.append(sorter);
  });
  document.addEventListener("click", (event) => {
    const heading = event.target.closest("table.sortable thead th:not(.no-sort)");
    if (!heading) return;
    setTimeout(() => all("th", heading.parentElement).forEach((other) => {
      if (other !== heading) other.removeAttribute("aria-sort");
    }));
  });

  // --- filters of a board
  const model = find("filter-model"), metric = find("filter-metric"), ends = find("filter-ends"), told = find("filtered");
  if (model) {
    find("filters").hidden = false;
    find("filters").addEventListener("submit", (event) => event.preventDefault());
    const apply = () => {
      const word = model.value.trim().toLowerCase();
      all("[data-model]").forEach((row) => { row.hidden = !row.dataset.model.toLowerCase().includes(word); });
      all("section.metric").forEach((part) => { part.hidden = metric.value !== "" && part.dataset.metric !== metric.value; });
      all("tfoot .end").forEach((row) => { row.hidden = !ends.checked; });
      const names = new Set(all("tr[data-model]:not([hidden])").map((row) => row.dataset.model));
      told.textContent = word || metric.value ? `${names.size} models, ${all("section.metric:not([hidden])").length} metrics` : "";
    };
    [model, metric, ends].forEach((input) => input.addEventListener("input", apply));
    apply();
  }

  // --- the numbers of one model
  const row = find("filter-row");
  if (row) {
    find("filters").hidden = false;
    find("filters").addEventListener("submit", (event) => event.preventDefault());
    row.addEventListener("input", () => {
      const word = row.value.trim().toLowerCase();
      const rows = all("table.numbers tbody tr");
      rows.forEach((line) => { line.hidden = !line.textContent.toLowerCase().includes(word); });
      told.textContent = word ? `${rows.filter((line) => !line.hidden).length} of ${rows.length} numbers` : "";
    });
  }

  // --- two models side by side
  const data = find("data");
  if (data) {
    const differences = JSON.parse(data.textContent);
    const first = find("first"), second = find("second"), only = find("only"), body = find("differences").tBodies[0];
    const asked = new URLSearchParams(location.hash.slice(1)).get("first");
    if (asked && [...first.options].some((option) => option.value === asked)) {
      first.value = asked;
      if (second.value === asked) second.value = [...second.options].map((option) => option.value).find((name) => name !== asked) ?? asked;
    }
    const cell = (kind, text, name = "") => Object.assign(document.createElement(kind), { textContent: text, className: name });
    const negated = (text) => text.startsWith("-") ? text.slice(1) : (text === "0" ? text : `-${text}`);
    const show = () => {
      const [a, b] = [first.value, second.value];
      find("head-first").textContent = a;
      find("head-second").textContent = b;
      const rows = differences.filter((one) => (one.first === a && one.second === b) || (one.first === b && one.second === a));
      body.replaceChildren(...rows.filter((one) => !only.checked || one.better).map((one) => {
        const turned = one.first !== a;
        const ends = one.interval.slice(1, -1).split(", ");
        const interval = !one.interval ? "" : turned ? `[${negated(ends[1])}, ${negated(ends[0])}]` : one.interval;
        const line = document.createElement("tr");
        line.append(
          cell("td", one.metric), cell("td", one.where), cell("th", `${one.label} ${one.arrow}`),
          cell("td", turned ? one.b : one.a, "number"), cell("td", turned ? one.a : one.b, "number"),
          cell("td", `${turned ? negated(one.difference) : one.difference} ${interval}`, "number"),
          cell("td", one.p, "number"), cell("td", one.better, one.better ? "first" : ""));
        line.children[2].scope = "row";
        return line;
      }));
      const won = (name) => rows.filter((one) => one.better === name).length;
      find("verdict").textContent = a === b ? "Choose two different models."
        : `${a} is better in ${won(a)}, ${b} in ${won(b)} of ${rows.length} numbers; the rest cannot be told apart.`;
    };
    find("pair").addEventListener("submit", (event) => event.preventDefault());
    [first, second, only].forEach((input) => input.addEventListener("input", show));
    show();
  }

  // --- the viewer: one intervention at a time
  const question = find("question");
  if (question) {
    find("question-form").hidden = false;
    const choose = () => all(".question").forEach((part) => { part.hidden = part.dataset.question !== question.value; });
    question.addEventListener("input", choose);
    choose();
  }

  // --- layers over pictures: where something changed, outlines of parts
  const layers = find("layer-form");
  if (layers) {
    layers.hidden = false;
    layers.addEventListener("submit", (event) => event.preventDefault());
    const lay = () => all("[data-switch]", layers).forEach((tick) => {
      const name = tick.dataset.switch;
      all(`[data-layer="${name}"], [data-legend="${name}"]`).forEach((over) => { over.hidden = !tick.checked; });
    });
    layers.addEventListener("input", lay);
    lay();
  }

  // --- the viewer of volumes: one slice at a time
  const slice = find("slice");
  if (slice) {
    find("slice-form").hidden = false;
    const heights = slice.dataset.slices.split(" "), pictures = all("table.viewer img");
    const files = pictures.map((image) => image.getAttribute("src").match(/^(.*)(\.\w+)$/));
    const cut = () => {
      const height = heights[slice.value];
      pictures.forEach((image, place) => { image.src = `${files[place][1]}-slice-${height}${files[place][2]}`; });
      find("slice-said").textContent = `slice ${height}`;
    };
    slice.addEventListener("input", cut);
    find("slice-said").textContent = `slice ${heights[slice.value]}`;
  }
})();
