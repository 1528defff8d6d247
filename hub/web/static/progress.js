// Shows how far a read is: asks every second and a half while one runs, else every 15 s, with the ETag of the last answer.
// Where a run began or ended, of one feed or all, it takes the server's own page, part by part, so that a form being filled in stays as it is.
(() => {
  "use strict";
  const PARTS = ["standing", "live", "runs", "quarantine"];
  const said = document.getElementById("said");
  let etag = "";
  let timer = 0;

  const live = () => document.getElementById("live");

  const renew = async () => {
    const reply = await fetch(location.href, { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    for (const id of PARTS) {
      const [old, now] = [document.getElementById(id), fresh.getElementById(id)];
      const focus = old.contains(document.activeElement) && document.activeElement.id;
      old.replaceWith(now);
      if (focus) (document.getElementById(focus) ?? now).focus({ preventScroll: true });
    }
    said.textContent = document.getElementById("now").textContent;
  };

  const ask = async () => {
    clearTimeout(timer);
    try {
      const reply = await fetch(live().dataset.progress, { headers: { "If-None-Match": etag }, cache: "no-store" });
      if (reply.status === 200) {
        const told = await reply.json();
        const { running, last } = live().dataset;
        if (String(told.running) !== running || String(told.last) !== last) await renew();
        for (const { code, feed, read } of told.feeds) {
          const place = live().querySelector(`[data-feed="${CSS.escape(`${code} ${feed}`)}"]`);
          if (place && read !== null) place.textContent = read.toLocaleString("en-US");
        }
        etag = reply.headers.get("ETag");
      } else if (reply.status !== 304) throw new Error(String(reply.status));
    } catch {
      etag = "";
    }
    if (!document.hidden) timer = setTimeout(ask, live().dataset.running === "true" ? 1500 : 15000);
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : ask()));
  if (!document.hidden) ask();
})();
