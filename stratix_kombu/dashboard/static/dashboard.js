"use strict";
// Refreshes the parts of a page that change, while it is visible. Everything works without this, by loading the page.
(() => {
  const POLL_MS = 2000, WITH_EVENTS_MS = 10000, AFTER_EVENT_MS = 500;
  const refresh = document.getElementById("refresh");
  const button = document.getElementById("live");
  const remembered = {
    get on() { try { return localStorage.getItem("stratix-live") !== "off"; } catch { return true; } },
    set on(value) { try { localStorage.setItem("stratix-live", value ? "on" : "off"); } catch { /* not kept */ } },
  };

  function startLive() {
    let on = remembered.on, source = null, last = Date.now(), pending = 0, asked = false;
    const show = (text) => {
      button.textContent = text || (on ? "Live" : "Not live");
      button.setAttribute("aria-pressed", String(on));
    };
    const tick = () => {
      if (!on || document.hidden || asked) return;
      asked = true;
      htmx.trigger(refresh, "stratix:tick");
    };
    const listen = () => {
      const wanted = on && !document.hidden && document.body.dataset.events;
      if (wanted && !source) {
        source = new EventSource(document.body.dataset.events);
        source.onmessage = () => {
          if (!pending) pending = setTimeout(() => { pending = 0; tick(); }, AFTER_EVENT_MS);
        };
      } else if (!wanted && source) {
        source.close();
        source = null;
      }
    };
    setInterval(() => {
      const open = source && source.readyState === EventSource.OPEN;
      if (Date.now() - last >= (open ? WITH_EVENTS_MS : POLL_MS) - 100) tick();
    }, POLL_MS);
    document.addEventListener("visibilitychange", () => { listen(); tick(); });
    button.addEventListener("click", () => { on = remembered.on = !on; show(); listen(); tick(); });
    // The next one is due that long after the answer: a page that takes long is not asked for again and again.
    refresh.addEventListener("htmx:afterRequest", () => { asked = false; last = Date.now(); });
    document.body.addEventListener("htmx:sendError", () => show("No answer"));
    document.body.addEventListener("htmx:responseError", () => show("No answer"));
    document.body.addEventListener("htmx:oobAfterSwap", () => show());
    document.body.addEventListener("htmx:oobBeforeSwap", keepOrSkip);
    button.hidden = false;
    show();
    listen();
  }

  // What somebody is using is left as it is: selected jobs, selected text, the element with the focus.
  function keepOrSkip(event) {
    const { target, fragment } = event.detail, selection = document.getSelection();
    const inUse = target.querySelector("input:checked") || target.contains(document.activeElement) ||
      (selection && !selection.isCollapsed && target.contains(selection.anchorNode));
    if (inUse) {
      event.detail.shouldSwap = false;
      return;
    }
    const old = target.querySelectorAll("details"), made = fragment.querySelectorAll("details");
    old.forEach((one, number) => { if (made[number]) made[number].open = one.open; });
  }

  function selectAll() {
    const head = document.querySelector("table.jobs th.pick");
    if (!head) return;
    const all = document.createElement("input");
    all.type = "checkbox";
    all.setAttribute("aria-label", "Select all on this page");
    all.addEventListener("change", () => {
      all.closest("table").querySelectorAll("td.pick input").forEach((one) => { one.checked = all.checked; });
    });
    head.replaceChildren(all);
  }

  function copyButtons() {
    if (!navigator.clipboard) return;
    document.querySelectorAll("button[data-copy]").forEach((one) => {
      one.hidden = false;
      one.addEventListener("click", async () => {
        const answer = await fetch(one.dataset.copy);
        await navigator.clipboard.writeText(await answer.text());
        one.textContent = "Copied";
      });
    });
  }

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      document.getElementById("search").focus();
    }
  });
  // Steps of an action on many jobs follow each other.
  const next = document.querySelector("form[data-next]");
  if (next) setTimeout(() => next.requestSubmit(), 200);
  if (refresh && window.htmx) startLive();
  selectAll();
  document.body.addEventListener("htmx:oobAfterSwap", selectAll);
  copyButtons();
})();
