(() => {
  "use strict";
  const at = (id) => document.getElementById(id);
  const make = (tag, kind, text) => {
    const found = document.createElement(tag);
    if (kind) found.className = kind;
    if (text !== undefined) found.textContent = text;
    return found;
  };
  const draw = (tag, values) => {
    const found = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(values)) found.setAttribute(name, value);
    return found;
  };
  let token = sessionStorage.getItem("token"), image = null, turn = 0;

  // Requests -----------------------------------------------------------------------------------
  const askToken = () => new Promise((resolve) => {
    at("token-note").textContent = token === null
      ? "This service needs its token. It is kept until this tab is closed."
      : "That is not the token of this service.";
    at("token-form").onsubmit = (event) => {
      event.preventDefault();
      token = at("token").value.trim();
      sessionStorage.setItem("token", token);
      at("token").value = "";
      at("token-dialog").close();
      resolve(true);
    };
    at("token-dialog").onclose = () => resolve(false);
    at("token-dialog").showModal();
  });
  let asking = null;
  const request = async (path, options = {}) => {
    for (;;) {
      const used = token;
      const headers = {...(options.headers || {})};
      if (token) headers.authorization = "Bearer " + token;
      let answer;
      try {
        answer = await fetch(path, {...options, headers});
      } catch {
        throw new Error("The service does not answer.");
      }
      if (answer.status !== 401) {
        if (answer.ok) return answer;
        const found = await answer.json().catch(() => ({}));
        const reason = typeof found.detail === "string" ? found.detail : "status " + answer.status;
        throw new Error(reason.charAt(0).toUpperCase() + reason.slice(1) + ".");
      }
      if (used === token) {
        asking = asking || askToken();
        const given = await asking;
        asking = null;
        if (!given) throw new Error("A token is needed.");
      }
    }
  };
  const form = (files, options) => {
    const made = new FormData();
    for (const each of files) made.append("image", each, each.name || "pasted.png");
    made.append("options", JSON.stringify(options));
    return {method: "POST", body: made};
  };
  const events = async (path, options, progress) => {
    const answer = await request(path, {...options, headers: {accept: "text/event-stream"}});
    const reader = answer.body.getReader(), decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const {done, value} = await reader.read();
      text += decoder.decode(value || new Uint8Array(), {stream: !done});
      let end;
      while ((end = text.indexOf("\n\n")) >= 0) {
        const [name, data] = text.slice(0, end).split("\ndata: ");
        text = text.slice(end + 2);
        const found = JSON.parse(data);
        if (name === "event: done") return found;
        if (name === "event: problem") throw new Error(found.detail);
        progress(found);
      }
      if (done) throw new Error("The service ended before the job.");
    }
  };
  const complain = (error) => {
    at("problem").textContent = error ? error.message : "";
    at("problem").hidden = !error;
  };
  const tell = (text) => { at("done").textContent = text; };

  // State of the gallery -----------------------------------------------------------------------
  const count = (number, one, many) => number.toLocaleString("en") + " " + (number === 1 ? one : many);
  const refresh = async () => {
    const found = await (await request("stats")).json();
    at("stats").textContent = count(found.items, "item", "items") + " of " +
      count(found.identities, "identity", "identities") + ", " +
      count(found.cameras.length, "camera", "cameras");
    at("measured").textContent = found.measured ? "Measured on the enrolled items."
      : "Not measured yet: enrol items of at least two identities, and measure.";
    const list = at("cameras"), chosen = new Set([...list.selectedOptions].map((e) => e.value));
    list.replaceChildren(...found.cameras.map((each) => {
      const option = make("option", "", each);
      option.selected = chosen.has(each);
      return option;
    }));
  };

  // The image ----------------------------------------------------------------------------------
  const take = async (file) => {
    complain(null);
    image = file;
    const mine = ++turn;
    if (at("image").src) URL.revokeObjectURL(at("image").src);
    at("image").src = URL.createObjectURL(file);
    for (const id of ["veil", "view", "cloud", "visible"]) at(id).hidden = true;
    at("points").replaceChildren();
    at("notes").textContent = "";
    at("person").hidden = true;
    at("matches").replaceChildren();
    at("verdict").textContent = "";
    await search();
    if (mine !== turn || !at("problem").hidden) return;
    try {
      const found = await (await request("person", form([file], {}))).json();
      if (mine !== turn) return;
      showPerson(found);
      at("cloud").hidden = false;
      at("cloud-note").textContent = "Lifting …";
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      const page = await (await request("view", form([file], {dark}))).text();
      if (mine !== turn) return;
      at("view").srcdoc = page;
      at("view").hidden = false;
      at("cloud-note").textContent = "Drag to turn, scroll to zoom.";
    } catch (error) {
      if (mine !== turn) return;
      if (at("cloud").hidden) complain(error);
      else at("cloud-note").textContent = error.message;
    }
  };
  const showPerson = (found) => {
    at("person").hidden = false;
    at("veil").hidden = !(found.hidden && at("show-veil").checked);
    if (found.hidden) at("veil").src = found.hidden;
    else at("veil").removeAttribute("src");
    const box = at("points"), size = Math.max(found.width, found.height) / 60;
    box.setAttribute("viewBox", "0 0 " + found.width + " " + found.height);
    box.replaceChildren(...found.bones.map(([a, b]) => draw("line", {
      class: "bone", x1: found.keypoints[a].x, y1: found.keypoints[a].y,
      x2: found.keypoints[b].x, y2: found.keypoints[b].y,
    })), ...found.keypoints.map((each) => each.visibility >= 0.5
      ? draw("circle", {class: "seen", cx: each.x, cy: each.y, r: size})
      : draw("path", {class: "covered", d: "M" + each.x + " " + (each.y - 1.3 * size) + "l" +
          1.2 * size + " " + 2.2 * size + "h" + -2.4 * size + "z"})));
    const seen = found.keypoints.filter((each) => each.visibility >= 0.5).length;
    box.setAttribute("aria-label", seen + " of " + found.keypoints.length + " keypoints visible");
    at("notes").textContent = found.notes.join("; ");
    const rows = Object.entries(found.visible);
    at("visible").hidden = !rows.length;
    at("visible").tBodies[0].replaceChildren(...rows.map(([name, value]) => {
      const row = make("tr"), head = make("th", "", name), bar = make("span", "bar");
      head.scope = "row";
      const fill = make("span");
      fill.style.width = 100 * value + "%";
      bar.append(fill);
      const last = make("td");
      last.append(bar);
      row.append(head, make("td", "number", Math.round(100 * value)), last);
      return row;
    }));
  };

  // Search -------------------------------------------------------------------------------------
  const seconds = (id) => at(id).value ? new Date(at(id).value).getTime() / 1000 : null;
  const conditions = () => {
    const found = {};
    for (const each of at("where").value.split(",").map((e) => e.trim()).filter(Boolean)) {
      const place = each.indexOf("=");
      if (place < 1) throw new Error("Conditions must be FIELD=VALUE, as in metadata.zone=3.");
      const name = each.slice(0, place).trim(), text = each.slice(place + 1).trim();
      let value = text;
      if (name.startsWith("metadata.")) {
        try { value = JSON.parse(text); } catch { value = text; }
      }
      found[name] = name in found ? [found[name], value].flat() : value;
    }
    return found;
  };
  const wanted = () => {
    const cameras = [...at("cameras").selectedOptions].map((each) => each.value);
    const options = {
      k: Number(at("k").value) || 10, where: conditions(),
      after: seconds("after"), before: seconds("before"),
      exclude_same_camera: at("other-cameras").checked,
    };
    if (cameras.length) options.cameras = cameras;
    if (at("identity").value.trim()) options.identities = [at("identity").value.trim()];
    if (at("own-camera").value.trim()) options.camera = at("own-camera").value.trim();
    if (at("rate").value) options.false_accept_rate = Number(at("rate").value);
    return options;
  };
  let searches = 0;
  const search = async () => {
    if (!image) return complain(new Error("Give an image first."));
    const mine = ++searches;
    complain(null);
    try {
      const answer = await request("search", form([image], wanted()));
      const found = await answer.json();
      if (mine === searches) show(found);
    } catch (error) {
      if (mine === searches) {
        at("matches").replaceChildren();
        at("verdict").textContent = "";
        complain(error);
      }
    }
  };
  const show = (found) => {
    const verdict = found.verdict, parts = [];
    if (verdict) parts.push(verdict.answer === "match"
      ? "Match: " + (verdict.identity || verdict.item)
      : verdict.answer.charAt(0).toUpperCase() + verdict.answer.slice(1));
    if (!found.matches.length) parts.push("No item fulfils the filters");
    at("verdict").textContent = [...parts, ...found.notes].join(". ");
    at("matches").replaceChildren(...found.matches.map(card));
  };
  const card = (match, rank) => {
    const found = make("li", "card match"), text = make("div");
    const thumb = match.image ? make("img", "thumb") : make("div", "thumb", "no image");
    if (match.image) { thumb.src = match.image; thumb.alt = "Item " + (rank + 1); }
    text.append(make("h3", "", rank + 1 + ". " + (match.identity || match.name || match.id)));
    const p = match.probability === null ? "" : ", probability " + match.probability.toFixed(2);
    text.append(make("p", "", "score " + match.score.toFixed(3) + p));
    const about = [];
    if (match.shared !== null) about.push(Math.round(100 * match.shared) + " % shared");
    if (match.camera !== null) about.push("camera " + match.camera);
    if (match.time !== null) about.push(new Date(1000 * match.time).toLocaleString());
    if (match.identity && match.name) about.push(match.name);
    for (const [name, value] of Object.entries(match.metadata))
      about.push(name + " " + JSON.stringify(value));
    text.append(make("p", "soft", about.join(", ")));
    const controls = make("div", "controls");
    if (match.parts.length) {
      const bar = make("div", "parts");
      const total = match.parts.reduce((sum, e) => sum + Math.max(0, e.contribution), 0) || 1;
      match.parts.forEach((each, number) => {
        const piece = make("span", "part-" + number % 6);
        piece.style.width = 100 * Math.max(0, each.contribution) / total + "%";
        piece.title = each.name + " " + each.contribution.toFixed(3);
        bar.append(piece);
      });
      text.append(bar);
      const why = make("button", "", "Why");
      why.type = "button";
      why.setAttribute("aria-expanded", "false");
      why.setAttribute("aria-label", "Why item " + (rank + 1));
      let panel = null;
      why.addEventListener("click", () => {
        if (panel) panel.remove();
        panel = panel ? null : reasons(match);
        if (panel) found.append(panel);
        found.classList.toggle("wide", panel !== null);
        why.setAttribute("aria-expanded", String(panel !== null));
      });
      controls.append(why);
    }
    const forget = make("button", "", "Forget");
    forget.type = "button";
    forget.setAttribute("aria-label", "Forget item " + (rank + 1));
    forget.addEventListener("click", async () => {
      if (forget.textContent === "Forget") {
        forget.textContent = "Really forget?";
        return;
      }
      await forgetBy({item: match.id});
      await search();
      at("result-title").tabIndex = -1;
      at("result-title").focus();
    });
    forget.addEventListener("blur", () => { forget.textContent = "Forget"; });
    controls.append(forget);
    text.append(controls);
    found.append(thumb, text);
    return found;
  };
  const reasons = (match) => {
    const panel = make("div", "why");
    if (match.image && match.lines.length) {
      const item = new Image(), query = at("image");
      const height = 300, box = draw("svg", {role: "img"});
      box.setAttribute("aria-label", match.lines.length +
        " strongest matches between the image and the item, as lines");
      item.onload = () => {
        const widths = [query, item].map((e) => height * e.naturalWidth / e.naturalHeight);
        const left = widths[0] + 60;
        box.setAttribute("viewBox", "0 0 " + (left + widths[1]) + " " + height);
        box.append(draw("image", {href: query.src, width: widths[0], height}),
          draw("image", {href: item.src, x: left, width: widths[1], height}));
        for (const line of match.lines) {
          const ends = {x1: line.query[0] * widths[0], y1: line.query[1] * height,
            x2: left + line.item[0] * widths[1], y2: line.item[1] * height};
          box.append(draw("line", {class: "under", ...ends}),
            draw("line", {class: "part-" + line.part % 6, ...ends}));
        }
      };
      item.src = match.image;
      panel.append(box);
    }
    const scroll = make("div", "scroll"), table = make("table"), head = make("tr");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Parts");
    for (const each of ["part", "contribution", "weight", "similarity"]) {
      const cell = make("th", each === "part" ? "" : "number", each);
      cell.scope = "col";
      head.append(cell);
    }
    const top = make("thead"), body = make("tbody");
    top.append(head);
    match.parts.forEach((each, number) => {
      const row = make("tr"), name = make("th");
      name.scope = "row";
      name.append(make("span", "swatch part-" + number % 6), each.name);
      row.append(name, ...[each.contribution, each.weight, each.similarity].map(
        (value) => make("td", "number", value === null ? "\u2013" : value.toFixed(3))));
      body.append(row);
    });
    table.append(top, body);
    scroll.append(table);
    panel.append(scroll);
    return panel;
  };

  // Changes ------------------------------------------------------------------------------------
  const progress = (value) => {
    const bar = at("progress");
    bar.hidden = value === null;
    if (value) { bar.max = value.total || 1; bar.value = value.done; }
    else bar.removeAttribute("value");
  };
  const change = async (job) => {
    tell("");
    try {
      tell(await job());
      await refresh();
    } catch (error) {
      tell(error.message);
    } finally {
      progress(null);
    }
  };
  const forgetBy = (request_) => change(async () => {
    const body = JSON.stringify(request_);
    const headers = {"content-type": "application/json"};
    const found = await (await request("forget", {method: "POST", body, headers})).json();
    return count(found.forgotten, "item", "items") + " forgotten.";
  });
  at("enrol").addEventListener("submit", (event) => {
    event.preventDefault();
    const files = [...at("several").files], options = {};
    for (const name of ["identity", "camera"]) {
      const text = at("enrol-" + name).value.trim();
      if (text) options[name] = text;
    }
    if (at("enrol-time").value) options.time = seconds("enrol-time");
    change(async () => {
      const chosen = files.length ? files : image ? [image] : [];
      if (!chosen.length) throw new Error("Give an image first.");
      const found = await events("items", form(chosen, options), progress);
      at("several").value = "";
      const failed = found.failed.map((each) => " " + (each.name || "image") + ": " + each.reason + ".");
      return found.new + " new, " + found.replaced + " replaced, " + found.unchanged +
        " unchanged." + failed.join("");
    }).then(() => image && !files.length ? search() : undefined);
  });
  at("forget").addEventListener("submit", (event) => {
    event.preventDefault();
    const options = {}, identity = at("forget-identity").value.trim();
    if (identity) options.identity = identity;
    if (at("forget-before").value) options.before = seconds("forget-before");
    if (!Object.keys(options).length) return tell("Give an identity or a time.");
    forgetBy(options).then(() => image ? search() : undefined);
  });
  at("measure").addEventListener("submit", async (event) => {
    event.preventDefault();
    const rate = encodeURIComponent(at("threshold-rate").value), per = at("threshold-per").value;
    try {
      const answer = await request("threshold?false_accept_rate=" + rate + "&per=" + per);
      const found = await answer.json();
      at("threshold").textContent = "score " + found.threshold.toFixed(4);
    } catch (error) {
      at("threshold").textContent = error.message;
    }
  });
  at("build").addEventListener("click", () => change(async () => {
    await events("build", {method: "POST"}, progress);
    return "Candidates and thresholds are measured.";
  }));

  // Inputs -------------------------------------------------------------------------------------
  at("file").addEventListener("change", () => {
    if (at("file").files.length) take(at("file").files[0]);
    at("file").value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) { event.preventDefault(); take(file); }
  });
  for (const name of ["dragover", "dragleave", "drop"]) document.addEventListener(name, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    at("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  at("filters").addEventListener("submit", (event) => { event.preventDefault(); search(); });
  at("filters").addEventListener("change", () => { if (image) search(); });
  at("show-points").addEventListener("change", () => {
    at("points").style.visibility = at("show-points").checked ? "visible" : "hidden";
  });
  at("show-veil").addEventListener("change", () => {
    at("veil").hidden = !(at("veil").src && at("show-veil").checked);
  });
  refresh().catch(complain);
})();
