// Enrolment: a code that was scanned, and a file of devices.
"use strict";

(() => {
  const { $, tell, refresh } = Stencil;

  // A scanned code stands behind the `#`, which no server is sent; nor does it stay in the history.
  const field = $("#claim-code");
  if (field && location.hash.length > 1) {
    field.value = decodeURIComponent(location.hash.slice(1));
    history.replaceState(null, "", location.pathname);
    $("#claim button").focus();
  }

  document.addEventListener("sent", (event) => {
    if (event.target.id !== "claim" || !event.detail) return;
    const { device, gateway } = event.detail;
    $("#claimed").textContent = `${device} is yours, at gateway ${gateway}.`;
    field.focus();
  });

  /** A row of the answer's table, as text. */
  function row(answer) {
    const line = document.createElement("tr");
    const cells = [
      ["Line", answer.line ?? answer.row], ["Column", answer.column ?? "-"],
      ["Device", answer.device ?? "-"],
      ["What is wrong", `${answer.field ? `${answer.field}: ` : ""}${answer.error}`],
    ];
    for (const [label, text] of cells) {
      const cell = document.createElement("td");
      cell.dataset.label = label;
      cell.textContent = text;
      line.append(cell);
    }
    return line;
  }

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.dataset?.upload) return;
    event.preventDefault();
    const file = $("input[type=file]", form).files[0];
    const problem = $(".problem", form);
    const button = $("button", form);
    button.disabled = true;
    const kind = file.name.toLowerCase().endsWith(".json") ? "application/json" : "text/csv";
    let data = null;
    let why = null;
    try {
      const answer = await fetch(form.dataset.upload, {
        method: "POST", body: file, headers: { accept: "application/json", "content-type": kind },
      });
      data = await answer.json();
      if (!answer.ok) why = data.detail ?? data.title;
    } catch {
      why = "The hub does not answer.";
    }
    button.disabled = false;
    problem.textContent = why ?? "";
    problem.hidden = why === null;
    const shown = $("#uploaded");
    shown.hidden = why !== null;
    if (why !== null) return;
    $("#uploaded-counts").textContent =
      `${data.made} enrolled, ${data.unchanged} unchanged, ${data.failed} not taken`;
    const bad = data.rows.filter((answer) => answer.result === "failed");
    $("#uploaded-rows").replaceChildren(...bad.map(row));
    $(".scroll", shown).hidden = bad.length === 0;
    tell(`${data.made} enrolled`, data.failed ? "bad" : "good");
    refresh();
  });
})();
