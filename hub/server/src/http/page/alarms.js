// The dialogs of the alarms' pages: which alarm is meant, and for how long it is silent.
"use strict";

(() => {
  const { $, $$ } = Stencil;

  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button[data-open]");
    if (button) {
      const dialog = document.getElementById(button.dataset.open);
      const form = $("form", dialog);
      form.reset();
      toggleUntil();
      form.dataset.send = `POST /api/v1/alarms/${button.dataset.alarm}/${form.dataset.path}`;
      form.dataset.then = "stay";
      $("[data-what]", dialog).textContent = button.dataset.title;
      $(".problem", dialog).hidden = true;
      dialog.showModal();
    }
    if (event.target.closest?.("button[data-close]")) event.target.closest("dialog").close();
  });

  for (const dialog of $$("dialog")) {
    dialog.addEventListener("sent", () => dialog.close());
  }

  // ---- for how long --------------------------------------------------------

  const silence = $("#silence form");
  const until = $("#until");

  function toggleUntil() {
    if (!until) return;
    const asked = $("#length-until").checked;
    until.disabled = !asked;
    until.required = asked;
    if (asked && !until.value) {
      // Tomorrow at this time, to the minute.
      until.value = new Date(Stencil.now_us() / 1000 + 86400e3).toISOString().slice(0, 16);
    }
  }

  silence?.addEventListener("change", toggleUntil);
  silence?.addEventListener("sending", (event) => {
    const { length, until: at } = event.detail.body;
    event.detail.body = length === "until"
      ? { until_us: Date.parse(`${at}Z`) * 1000 } : { for_s: Number(length) };
  });
})();
