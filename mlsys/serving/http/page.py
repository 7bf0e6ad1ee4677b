"""`GET /`: one plain page, without any network, where a person asks and sees answer, passages and times."""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ask the RAG service</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --line: #8884; --bar: #3b76c4; --bad: #c0392b; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0; }
h2 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
#about { opacity: .75; font-size: .85rem; margin: .2rem 0 1.2rem; }
form { display: grid; gap: .6rem; }
.row { display: flex; gap: 1rem; align-items: end; flex-wrap: wrap; }
label { display: grid; font-size: .85rem; gap: .2rem; }
input, textarea, button { font: inherit; padding: .4rem .6rem; border: 1px solid #8888; border-radius: 6px; }
textarea { min-height: 4rem; resize: vertical; }
button { background: var(--bar); color: #fff; border: 0; padding: .5rem 1.4rem; cursor: pointer; }
button:disabled { opacity: .5; cursor: wait; }
#k { width: 5rem; }
#problem { color: var(--bad); min-height: 1.5em; }
#result { white-space: pre-wrap; border-left: 3px solid var(--bar); padding-left: .8rem; }
ol { padding-left: 1.4rem; }
li { margin-bottom: .6rem; }
small { opacity: .75; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
td { padding: .15rem .4rem; border-bottom: 1px solid var(--line); }
td:nth-child(2) { text-align: right; white-space: nowrap; width: 7rem; }
td:nth-child(3) { width: 60%; }
td div { background: var(--bar); height: .8rem; border-radius: 2px; min-width: 1px; }
</style>
<h1>Ask the RAG service</h1>
<p id="about"></p>
<form id="ask">
  <label>Question<textarea id="query" required autofocus></textarea></label>
  <div class="row">
    <label>Passages<input id="k" type="number" min="1" value="2" required></label>
    <label>API key, if one is required<input id="key" type="password" autocomplete="off"></label>
    <button>Ask</button>
  </div>
</form>
<p id="problem" role="alert"></p>
<section id="answer" hidden aria-live="polite">
  <h2>Answer</h2><div id="result"></div>
  <h2>Passages it was given</h2><ol id="passages"></ol>
  <h2>Where the time went</h2><table><tbody id="times"></tbody></table>
  <p><small id="note"></small></p>
</section>
<script>
"use strict";
const at = id => document.getElementById(id);
const headers = () => at("key").value ? {"x-api-key": at("key").value} : {};

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

function problem(status, body) {
  if (Array.isArray(body.detail))
    return body.detail.map(fault => fault.loc.slice(1).join(".") + ": " + fault.msg).join("; ");
  return status + ": " + (body.detail || "no answer");
}

function showPassages(passages) {
  at("result").textContent = "";
  at("times").replaceChildren();
  at("note").textContent = "";
  at("passages").replaceChildren(...passages.map(passage => {
    const item = element("li", passage.text + " ");
    const score = passage.score === null ? "none" : passage.score.toFixed(3);
    item.append(element("small", "(" + passage.source + ", score " + score + ")"));
    return item;
  }));
  at("answer").hidden = false;
}

function showTimes(answer) {
  const total = answer.timings_ms.total;
  at("times").replaceChildren(...Object.entries(answer.timings_ms).map(([part, ms]) => {
    const row = element("tr", ""), bar = element("td", "");
    if (part !== "total") bar.append(element("div", ""));
    if (part !== "total") bar.firstChild.style.width = 100 * ms / total + "%";
    row.append(element("td", part), element("td", ms.toFixed(1) + " ms"), bar);
    return row;
  }));
  at("note").textContent = (answer.tokens ?? "? ") + " tokens, answered in a batch of " + answer.batch_size +
    (answer.replica ? " by " + answer.replica : "") + ", request " + answer.request_id;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const {value, done} = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\\n\\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const [head, data] = block.split("\\n");
      yield [head.slice("event: ".length), JSON.parse(data.slice("data: ".length))];
    }
  }
}

async function show(response) {
  let ended = false;
  for await (const [name, content] of events(response)) {
    ended = name === "done" || name === "error";
    if (name === "passages") showPassages(content.passages);
    else if (name === "text") at("result").append(content.text);
    else if (name === "done") showTimes(content);
    else at("problem").textContent = problem(content.status, content);
  }
  if (!ended) at("problem").textContent = "The answer broke off.";
}

at("ask").addEventListener("submit", async event => {
  event.preventDefault();
  const button = document.querySelector("button");
  button.disabled = true;
  at("problem").textContent = "";
  at("answer").hidden = true;
  try {
    const response = await fetch("rag", {
      method: "POST",
      headers: {"content-type": "application/json", ...headers()},
      body: JSON.stringify({query: at("query").value, k: Number(at("k").value), stream: true}),
    });
    if (response.ok) await show(response);
    else at("problem").textContent = problem(response.status, await response.json());
  } catch (error) {
    at("problem").textContent = "The service cannot be reached: " + error.message;
  } finally {
    button.disabled = false;
  }
});

fetch("stats", {headers: headers()}).then(response => response.ok ? response.json() : {}).then(stats => {
  const pipeline = stats.pipeline || {};
  const parts = ["corpus", "embedder", "retriever", "reranker", "generator"].filter(part => pipeline[part + ".name"]);
  const named = part => part + " " + (pipeline[part + ".model"] || pipeline[part + ".name"]) +
    (pipeline[part + ".note"] ? " (" + pipeline[part + ".note"] + ")" : "");
  at("about").textContent = stats.mode ? "server " + stats.mode + "; " + parts.map(named).join("; ") : "";
}).catch(() => {});
</script>
</html>
"""
