// Keeps the page current: asks for the status every 15 s with its ETag, and takes the server's own page when it changed.
// Everything works without this; while the tab is hidden it is silent, and a lost hub is said, never hidden.
(() => {
  "use strict";
  const EVERY = 15000;
  const status = document.body.dataset.status;
  const lost = document.getElementById("lost");
  const said = document.getElementById("said");
  let timer = 0;
  let asking = false;

  const verdict = (root) => root.querySelector("#verdict").textContent;

  const renew = async () => {
    const reply = await fetch(location.href, { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    const [old, page] = [document.getElementById("page"), fresh.getElementById("page")];
    if (verdict(old) !== verdict(page)) said.textContent = verdict(page);
    const focus = old.contains(document.activeElement) && document.activeElement.id;
    const open = [...old.querySelectorAll("details[open]")].map((one) => one.id);
    old.replaceWith(page);
    document.title = fresh.title;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  };

  const ask = async () => {
    if (asking) return;
    asking = true;
    clearTimeout(timer);
    try {
      const etag = document.getElementById("page").dataset.etag;
      const reply = await fetch(status, { headers: { "If-None-Match": etag }, cache: "no-store" });
      if (reply.status === 200) await renew();
      else if (reply.status !== 304) throw new Error(String(reply.status));
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    asking = false;
    if (!document.hidden) timer = setTimeout(ask, EVERY);
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
  if (!document.hidden) timer = setTimeout(ask, EVERY);
})();
