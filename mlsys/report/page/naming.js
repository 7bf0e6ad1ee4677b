// Runs are named by what differs between those shown: a filter leaves fewer, and their names get shorter.

const MOST_RUNS = 24, MOST_BARS = 40, MOST_GROUPED = 8;

// The words of each name without those that all shown runs share.
function namesOf(part, shown) {
  const used = [...new Set([...shown].map((row) => part.of[row]))];
  const differs = (part.words[0] ?? []).map((_, key) => new Set(used.map((name) => part.words[name][key])).size > 1);
  const made = part.full.slice();
  for (const name of used) made[name] = part.words[name].filter((word, key) => word && differs[key]).join(" · ") || part.full[name];
  return made;
}

function rename(trace, part, names) {
  const meta = trace.meta ?? {};
  if (!meta.names || !trace.customdata?.length) return;
  if (meta.names === "y") {
    trace.y = trace.customdata.map((row) => names[part.of[row]] + part.tails[row]);
  } else {
    const row = trace.customdata[0];
    trace.name = names[part.of[row]] + (meta.names === "name at" ? part.tails[row] : "");
    if (trace.legendgroup) trace.legendgroup = trace.name;
  }
}

// Of many runs the first are drawn; of many bars each run's highest place.
function chosen(part, shown) {
  const runs = new Set();
  const lines = new Set();
  for (const row of shown) {
    if (runs.size < MOST_RUNS) runs.add(part.of[row]);
    if (runs.has(part.of[row])) lines.add(row);
  }
  let bars = lines;
  const highest = new Map();
  for (const row of lines) highest.set(part.of[row], Math.max(highest.get(part.of[row]) ?? -Infinity, part.places[row] ?? -Infinity));
  const places = new Set([...lines].map((row) => part.of[row] + " " + part.places[row])).size;
  if (places > MOST_BARS) bars = new Set([...lines].filter((row) => (part.places[row] ?? -Infinity) === highest.get(part.of[row])));
  const all = new Set([...shown].map((row) => part.of[row])).size;
  const said = [];
  if (all > runs.size) said.push(`Drawn: the first ${runs.size} of ${all} runs that the filters keep. Choose above to see others.`);
  if (bars !== lines) said.push("Bars: each run at its highest place only.");
  let grouped = bars;
  if (runs.size > MOST_GROUPED) {
    const few = new Set([...runs].slice(0, MOST_GROUPED));
    grouped = new Set([...bars].filter((row) => few.has(part.of[row])));
    said.push(`Bars side by side: the first ${MOST_GROUPED} of ${all} runs.`);
  }
  return { lines, bars, grouped, said: said.join(" ") };
}
