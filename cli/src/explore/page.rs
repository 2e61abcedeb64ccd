//! The report as one page: no script, nothing from elsewhere, legible on a phone.

use super::plot::{Point, curves, front};
use super::report::{Pair, Ranked, Report};
use super::statistics::Effect;

/// Text that is safe in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&quot;")
}

const STYLE: &str = "
:root{color-scheme:light dark;--ink:#1f2937;--dim:#6b7280;--line:#d1d5db;--paper:#fff;--soft:#f3f4f6;--strong:#2563eb}
@media(prefers-color-scheme:dark){:root{--ink:#e5e7eb;--dim:#9ca3af;--line:#374151;--paper:#111827;--soft:#1f2937;--strong:#60a5fa}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:64rem;padding:1rem;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.4rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:1rem 0 .25rem}
p,li{overflow-wrap:anywhere}
a{color:var(--strong)}
.answer{font-size:1.1rem;background:var(--soft);padding:.75rem 1rem;border-left:4px solid var(--strong)}
.dim{color:var(--dim);font-size:.875rem}
.wide{overflow-x:auto;background:linear-gradient(90deg,var(--paper) 1rem,transparent) 0/3rem 100% no-repeat local,linear-gradient(270deg,var(--paper) 1rem,transparent) 100%/3rem 100% no-repeat local,linear-gradient(90deg,var(--line),transparent) 0/.75rem 100% no-repeat scroll,linear-gradient(270deg,var(--line),transparent) 100%/.75rem 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.875rem}
th,td{padding:.25rem .5rem;text-align:left;border-bottom:1px solid var(--line);white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
td.cell{text-align:center;min-width:4rem}
.narrow{display:none}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--dim)}
.axis{stroke:var(--line)}
.front{fill:none;stroke:var(--strong);stroke-width:1.5;stroke-dasharray:4 3}
.strong{fill:var(--strong)}.weak{fill:var(--dim);opacity:.55}
.keys{list-style:none;padding:0;margin:.25rem 0;font-size:.875rem}
.keys li{padding-left:1.7rem;text-indent:-1.7rem}
.key{display:inline-block;width:1.2rem;height:.3rem;margin-right:.5rem;vertical-align:middle}
.bar{display:grid;grid-template-columns:minmax(6rem,14rem) 1fr auto;gap:.25rem .75rem;align-items:center;font-size:.875rem}
@media(max-width:36rem){.bar{grid-template-columns:1fr auto}.bar .choice{grid-column:1/-1;margin-top:.25rem}svg{font-size:18px}.broad{display:none}.narrow{display:table-cell;white-space:normal;min-width:11rem}}
.track{position:relative;height:1.2rem;background:var(--soft)}
.fill{position:absolute;left:0;top:0;bottom:0;background:var(--strong);opacity:.35}
.mark{position:absolute;top:50%;height:2px;background:var(--ink)}
.value{font-variant-numeric:tabular-nums;white-space:nowrap}
pre,code{font:13px/1.45 ui-monospace,monospace}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--soft);padding:.5rem .75rem;margin:.5rem 0}
details{border-bottom:1px solid var(--line);padding:.35rem 0}
summary{cursor:pointer;overflow-wrap:anywhere}
.levels svg{width:auto;max-width:none;font-size:14px}.levels svg text{fill:var(--ink)}
";

/// The page.
pub(super) fn page(r: &Report) -> String {
    let title = format!("Which {} for {}?", r.sweep.1, r.task);
    let [all, legal, same, out] = r.counts;
    let mut body = format!(
        "<h1>{}</h1><p class='answer'>{}</p><p class='dim'>{all} combinations of the sweep {}: {legal} legal and \
         different, {same} the same as another, {out} left out. {}{}</p>",
        escape(&title),
        escape(&r.answer()),
        escape(&r.sweep.0),
        if r.unreached > 0 {
            format!("{} were not reached. ", r.unreached)
        } else {
            String::new()
        },
        if r.whole {
            ""
        } else {
            "Not all rounds were run: what follows is what is known so far."
        }
    );
    if let Some(command) = r.best_command() {
        body.push_str(&format!(
            "<p>Train the best one again, to the last digit:</p><pre>{}</pre>",
            escape(command)
        ));
    }
    body.push_str(&ranking(r));
    body.push_str("<h2>Quality and cost</h2>");
    body.push_str("<p class='dim'>Each point is a combination; on the dashed line lie those that none cheaper beats. Blue: the last round. Earlier rounds trained for less and score lower for that reason too.</p>");
    body.push_str(&quality(r));
    body.push_str(&effects(r));
    body.push_str(&interactions(r));
    body.push_str(
        "<h2>Learning curves</h2><p class='dim'>The first seed of the eight best.</p>",
    );
    let eight = || r.ranked.iter().take(8);
    let of = |pick: fn(&Ranked) -> &Vec<(u64, f64)>| -> Vec<(String, Vec<(f64, f64)>)> {
        let points =
            |c: &Vec<(u64, f64)>| c.iter().map(|(s, v)| (*s as f64, *v)).collect();
        eight().map(|k| (k.name.clone(), points(pick(k)))).collect()
    };
    body.push_str(&format!("<h3>{}, held out</h3>", escape(&r.metric.0)));
    body.push_str(&curves(&of(|k| &k.curve), "steps", &escape(&r.metric.0)));
    body.push_str("<h3>loss of training, nats a target</h3>");
    body.push_str(&curves(&of(|k| &k.losses), "steps", "loss"));
    let pictures = pictures(r);
    body.push_str(&each(r, &pictures));
    body.push_str(&levels(r, &pictures));
    body.push_str(&rest(r));
    body.push_str(&format!("<h2>How this was measured</h2><p>{}</p>", escape(&r.method)));
    format!(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' content='width=device-width,initial-scale=1'>\
         <title>{}</title><style>{STYLE}</style></head><body>{body}</body></html>\n",
        escape(&title)
    )
}

fn ranking(r: &Report) -> String {
    let axes: String =
        r.axes.iter().map(|a| format!("<th class='broad'>{}</th>", escape(a))).collect();
    let row = |(n, k): (usize, &Ranked)| {
        let choices: String = k
            .short
            .iter()
            .map(|c| format!("<td class='broad'>{}</td>", escape(c)))
            .collect();
        let half = k.half.map_or(String::new(), |h| format!(" ± {h:.4}"));
        format!(
            "<tr><td class='n'>{}</td><td class='n'>{:.4}{half}</td>{choices}<td class='narrow'>{}</td><td class='n'>{}</td><td>{}</td>\
             <td class='n'>{}</td><td class='n'>{:.0}</td><td class='n'>{}</td></tr>",
            n + 1,
            k.mean,
            escape(&k.name),
            k.until,
            escape(&k.forms),
            k.parameters,
            k.flops,
            k.state_bytes
        )
    };
    let lines = |from: usize, to: usize| -> String {
        r.ranked.iter().enumerate().skip(from).take(to - from).map(row).collect()
    };
    let head = format!(
        "<tr><th class='n'>rank</th><th class='n'>{}</th>{axes}<th class='narrow'>combination</th><th class='n'>steps</th><th>form</th>\
         <th class='n'>parameters</th><th class='n' title='operations of a forward pass, a token'>operations</th><th class='n' title='bytes of state, a sequence'>state</th></tr>",
        escape(&r.metric.0)
    );
    let mut out = format!(
        "<h2>Ranking</h2><p class='dim'>Operations of a forward pass are counted a token, state in bytes a sequence. \
         Choices are written in full under <a href='#effects'>what mattered</a>.</p>\
         <div class='wide'><table>{head}{}</table></div>",
        lines(0, 20)
    );
    if r.ranked.len() > 20 {
        out.push_str(&format!(
            "<details><summary>all {}</summary><div class='wide'><table>{head}{}</table></div></details>",
            r.ranked.len(),
            lines(20, r.ranked.len())
        ));
    }
    out
}

fn quality(r: &Report) -> String {
    let last = r.ranked.first().map_or(0, |k| k.round);
    let points: Vec<Point> = r
        .ranked
        .iter()
        .map(|k| Point {
            x: k.flops,
            y: k.mean,
            title: format!(
                "{}: {:.4}, {:.0} operations a token",
                k.name, k.mean, k.flops
            ),
            strong: k.round == last,
        })
        .collect();
    front(
        &points,
        "operations of a forward pass, a token (logarithmic)",
        &escape(&r.metric.0),
        r.metric.1,
    )
}

fn effects(r: &Report) -> String {
    let mut out = "<h2 id='effects'>What mattered</h2><p class='dim'>The mean of the first round over all combinations with a \
                   choice, with the interval of that mean; the strongest axis first. Combinations that are left \
                   out are missing unevenly, so small differences may come from what they were combined with.</p>"
        .to_owned();
    let all =
        r.effects.iter().flat_map(|a| a.choices.iter().filter_map(|(_, e)| e.as_ref()));
    let top = all.map(|e| e.mean + e.half.unwrap_or(0.0)).fold(0.0, f64::max).max(1e-9);
    for axis in &r.effects {
        out.push_str(&format!(
            "<h3>{} <span class='dim'>({:.3} apart)</span></h3><div class='bar'>",
            escape(&axis.axis),
            axis.range
        ));
        for (choice, effect) in &axis.choices {
            out.push_str(&format!(
                "<div class='choice'>{}</div>{}",
                escape(choice),
                bar(effect.as_ref(), top)
            ));
        }
        out.push_str("</div>");
    }
    out
}

fn bar(effect: Option<&Effect>, top: f64) -> String {
    let Some(e) = effect else {
        return "<div class='track'></div><span class='value dim'>not trained</span>"
            .into();
    };
    let share = |v: f64| (100.0 * v / top).clamp(0.0, 100.0);
    let (mark, half) = match e.half {
        Some(h) => {
            let (from, to) = (share(e.mean - h), share(e.mean + h));
            (
                format!(
                    "<span class='mark' style='left:{from:.1}%;width:{:.1}%'></span>",
                    to - from
                ),
                format!(" ± {h:.3}"),
            )
        }
        None => (String::new(), String::new()),
    };
    format!(
        "<div class='track'><span class='fill' style='width:{:.1}%'></span>{mark}</div><span class='value'>{:.3}{half} · {}</span>",
        share(e.mean),
        e.mean,
        e.count
    )
}

fn interactions(r: &Report) -> String {
    if r.pairs.is_empty() {
        return String::new();
    }
    let mut out = "<h2>What mattered together</h2><p class='dim'>Mean scores of pairs of choices in the first round; \
                   the number beside the names is how far they are from a sum of the two axes' effects.</p>"
        .to_owned();
    for (n, pair) in r.pairs.iter().enumerate() {
        let open = if n < 2 { " open" } else { "" };
        out.push_str(&format!(
            "<details{open}><summary>{} and {} <span class='dim'>({:.3})</span></summary>{}</details>",
            escape(&pair.axes.0),
            escape(&pair.axes.1),
            pair.strength,
            table(pair)
        ));
    }
    out
}

fn table(pair: &Pair) -> String {
    let known = || pair.cells.iter().flatten().flatten().copied();
    let (low, high) = (
        known().fold(f64::INFINITY, f64::min),
        known().fold(f64::NEG_INFINITY, f64::max),
    );
    let head: String =
        pair.choices.1.iter().map(|c| format!("<th>{}</th>", escape(c))).collect();
    let mut out = format!("<div class='wide'><table><tr><th></th>{head}</tr>");
    for (name, row) in pair.choices.0.iter().zip(&pair.cells) {
        out.push_str(&format!("<tr><th>{}</th>", escape(name)));
        for cell in row {
            match cell {
                Some(v) => {
                    let part = if high > low { (v - low) / (high - low) } else { 0.5 };
                    out.push_str(&format!("<td class='cell' style='background:rgba(37,99,235,{:.2})'>{v:.3}</td>", 0.55 * part));
                }
                None => out.push_str("<td class='cell dim'>–</td>"),
            }
        }
        out.push_str("</tr>");
    }
    out + "</table></div>"
}

/// The different pictures of levels, in the order of the ranking.
fn pictures(r: &Report) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for k in &r.ranked {
        if !out.contains(&k.levels.as_str()) {
            out.push(&k.levels);
        }
    }
    out
}

/// Every level graph once, with the ranks that have it.
fn levels(r: &Report, pictures: &[&str]) -> String {
    let mut out = "<h2>Level graphs</h2><p class='dim'>How often each level acts, what it holds, what flows; each \
                   drawn once.</p>"
        .to_owned();
    for (n, picture) in pictures.iter().enumerate() {
        let ranks = r.ranked.iter().enumerate().filter(|(_, k)| k.levels == **picture);
        let ranks: Vec<String> = ranks.map(|(rank, _)| (rank + 1).to_string()).collect();
        let open = if n == 0 { " open" } else { "" };
        // Inside a page a picture needs no name space.
        let inline = picture.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
        out.push_str(&format!(
            "<details id='levels-{n}'{open}><summary>level graph {} <span class='dim'>of {} combinations: {}</span></summary>\
             <div class='wide levels'>{inline}</div></details>",
            n + 1,
            ranks.len(),
            ranks.join(", ")
        ));
    }
    out
}

fn each(r: &Report, pictures: &[&str]) -> String {
    let mut out = "<h2>Each combination</h2><p class='dim'>Its update as it was derived: x1, x2, ... are what a memory is written with and asked, in order.</p>".to_owned();
    for (n, k) in r.ranked.iter().enumerate() {
        let scores: Vec<String> = k.scores.iter().map(|s| format!("{s}")).collect();
        let graph = pictures.iter().position(|p| *p == k.levels).unwrap_or(0);
        out.push_str(&format!(
            "<details><summary>{}. {} <span class='dim'>{} · {:.4}</span></summary><p>{}</p><pre>{}</pre><p class='dim'>scores by seed: {} · {:.1} s of training · <a href='#levels-{graph}'>level graph {}</a></p><pre>{}</pre></details>",
            n + 1,
            escape(&k.name),
            k.label,
            k.mean,
            escape(&k.choices.join(" · ")),
            escape(&k.equation.join("\n")),
            scores.join(", "),
            k.seconds,
            graph + 1,
            escape(&k.command)
        ));
    }
    out
}

/// What has no score: failures, what is left out, what is the same.
fn rest(r: &Report) -> String {
    let mut out = String::new();
    let item = |text: &str, names: &[String]| {
        let names: Vec<String> =
            names.iter().map(|n| format!("<li>{}</li>", escape(n))).collect();
        format!(
            "<details><summary>{} <span class='dim'>({})</span></summary><ul>{}</ul></details>",
            escape(text),
            names.len(),
            names.concat()
        )
    };
    if !r.failures.is_empty() {
        out.push_str("<h2>Failed</h2><ul>");
        for (name, cause) in &r.failures {
            out.push_str(&format!("<li>{}: {}</li>", escape(name), escape(cause)));
        }
        out.push_str("</ul>");
    }
    if !r.left_out.is_empty() {
        out.push_str("<h2>Left out, and why</h2>");
        r.left_out.iter().for_each(|(why, names)| out.push_str(&item(why, names)));
    }
    if !r.duplicates.is_empty() {
        out.push_str("<h2>The same as another</h2><ul>");
        for (name, of) in &r.duplicates {
            out.push_str(&format!("<li>{} is {}</li>", escape(name), escape(of)));
        }
        out.push_str("</ul>");
    }
    out
}
