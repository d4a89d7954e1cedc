// A gateway's page: what the gateway is asked at once, its log, its figures, and to log more for a
// while.
"use strict";

(() => {
  const { $, send } = Stencil;
  const AGAIN_MS = 3000; // between two questions while the log is followed
  const MAX_LINES = 5000; // that the page holds
  const asked = $("#asked");
  if (!asked) return;
  const path = `/api/v1/gateways/${encodeURIComponent(asked.dataset.gateway)}`;
  const problem = $("#asked-problem");
  const log = $("#log");
  const follow = $("#log-follow");
  let next = null; // from where to ask on
  let timer = null;

  function tellProblem(text) {
    problem.textContent = text ?? "";
    problem.hidden = text === null;
  }

  function line(item) {
    const row = document.createElement("span");
    row.className = `log-${item.level}`;
    const at = new Date(item.at_us / 1000).toISOString().replace("T", " ").slice(0, 23);
    // The text has its own time and level where the gateway writes them.
    row.textContent = /^\d{4}-\d\d-\d\dT/.test(item.text)
      ? item.text : `${at} ${item.level.toUpperCase()} ${item.text}`;
    return row;
  }

  function append(items, missed) {
    const end = log.scrollHeight - log.scrollTop - log.clientHeight < 20;
    if (missed > 0) {
      const gap = document.createElement("span");
      gap.className = "dim";
      gap.textContent = `(${missed} lines are gone)`;
      log.append(gap, "\n");
    }
    for (const item of items) log.append(line(item), "\n");
    while (log.childNodes.length > 2 * MAX_LINES) log.firstChild.remove();
    if (end) log.scrollTop = log.scrollHeight;
  }

  /** Asks once; whether there is more at once. */
  async function more() {
    const query = new URLSearchParams({ level: $("#log-level").value });
    if (next) query.set("after", next);
    const answer = await send("GET", `${path}/logs?${query}`);
    tellProblem(answer.problem);
    if (!answer.ok) return false;
    append(answer.data.lines, answer.data.missed);
    $("#log-box").hidden = false;
    $("#log-none").hidden = log.childNodes.length > 0;
    next = answer.data.next;
    return answer.data.more;
  }

  async function show(button) {
    button.disabled = true;
    clearTimeout(timer);
    next = null;
    log.replaceChildren();
    await more();
    button.disabled = false;
    following();
  }

  /** Asks on as long as it is wanted, also when an answer fails: the gateway may come back. */
  function following() {
    clearTimeout(timer);
    if (!follow.checked) return;
    timer = setTimeout(async () => {
      const at_once = document.hidden ? false : await more();
      if (at_once) { await more(); }
      following();
    }, AGAIN_MS);
  }

  async function figures(button) {
    button.disabled = true;
    const answer = await send("GET", `${path}/metrics`);
    button.disabled = false;
    tellProblem(answer.problem);
    if (!answer.ok) return;
    const rows = answer.data.figures.map((figure) => {
      const row = document.createElement("tr");
      const cells = [["th", figure.name], ["td", figure.value.toLocaleString("en")], ["td", figure.help]];
      for (const [kind, text] of cells) {
        const cell = document.createElement(kind);
        cell.textContent = text;
        row.append(cell);
      }
      row.firstChild.scope = "row";
      row.children[1].className = "num";
      return row;
    });
    $("#figures tbody").replaceChildren(...rows);
    $("#figures-box").hidden = false;
  }

  document.addEventListener("click", (event) => {
    if (event.target.id === "show-log") show(event.target);
    if (event.target.id === "show-figures") figures(event.target);
  });
  follow.addEventListener("change", () => {
    if (follow.checked && !next) show($("#show-log"));
    else following();
  });
  $("#log-level").addEventListener("change", () => { if (next) show($("#show-log")); });
})();
