//! What is said of combinations before anything trains.

use super::judge::Verdict;
use super::store::label;
use nestor_compiler::sweep::Expanded;
use std::time::Duration;

/// A combination in words: the choices of the axes that have more than one, as short as they can
/// be told apart.
pub(super) fn name(expanded: &Expanded, n: usize) -> String {
    let chosen = &expanded.combinations[n].choices;
    let axes = expanded.axes.iter().zip(chosen).filter(|((_, all), _)| all.len() > 1);
    axes.map(|((_, all), k)| short(all, *k)).collect::<Vec<_>>().join(" · ")
}

/// A choice without its arguments, where no other of the axis begins as it does.
pub(super) fn short(choices: &[String], n: usize) -> &str {
    let own = head(&choices[n]);
    let alone = choices.iter().filter(|c| head(c) == own).count() == 1;
    if alone { own } else { &choices[n] }
}

fn head(choice: &str) -> &str {
    choice.split('(').next().unwrap_or(choice).trim()
}

/// Says what would be trained, and what not and why.
pub(super) fn tell_verdicts(
    expanded: &Expanded,
    verdicts: &[Verdict],
    whole: bool,
    json: bool,
    took: Duration,
) {
    if json {
        let one = |(n, v): (usize, &Verdict)| serde_json::json!({ "combination": label(n), "choices": name(expanded, n), "verdict": v });
        let all: Vec<_> = verdicts.iter().enumerate().map(one).collect();
        anstream::println!("{}", serde_json::json!(all));
        return;
    }
    let count = |of: fn(&Verdict) -> bool| verdicts.iter().filter(|v| of(v)).count();
    let legal = count(|v| matches!(v, Verdict::Legal(_)));
    let same = count(|v| matches!(v, Verdict::Duplicate { .. }));
    let out = count(|v| matches!(v, Verdict::LeftOut { .. }));
    anstream::println!(
        "sweep {} over {}: {} combinations, {legal} legal and different, {same} the same as \
         another, {out} left out ({:.1} s)",
        expanded.name,
        expanded.over,
        verdicts.len(),
        took.as_secs_f64()
    );
    let mut reasons: Vec<(String, Vec<usize>)> = Vec::new();
    for (n, verdict) in verdicts.iter().enumerate() {
        let text = match verdict {
            Verdict::Legal(legal) if whole => {
                anstream::println!(
                    "  {}  {:<14} {:>7} parameters  {:>8.0} operations a token  {:>7} bytes of state  {}",
                    label(n),
                    legal.forms.join(", "),
                    legal.parameters,
                    legal.flops,
                    legal.state_bytes,
                    name(expanded, n)
                );
                continue;
            }
            Verdict::Legal(_) => continue,
            Verdict::Duplicate { of } if whole => {
                anstream::println!(
                    "  {}  the same as {}  {}",
                    label(n),
                    label(*of),
                    name(expanded, n)
                );
                continue;
            }
            Verdict::Duplicate { .. } => continue,
            Verdict::LeftOut { why, help } => {
                let help = help.as_ref().map_or(String::new(), |h| format!("; {h}"));
                format!("{why}{help}")
            }
        };
        match reasons.iter_mut().find(|(t, _)| *t == text) {
            Some((_, of)) => of.push(n),
            None => reasons.push((text, vec![n])),
        }
    }
    for (text, of) in &reasons {
        let first = name(expanded, of[0]);
        let more = if of.len() > 1 {
            format!(" and {} more", of.len() - 1)
        } else {
            String::new()
        };
        anstream::println!("  left out: {first}{more}\n    {text}");
        if whole {
            let names: Vec<String> =
                of.iter().skip(1).map(|n| name(expanded, *n)).collect();
            names.iter().for_each(|n| anstream::println!("      also {n}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn names_are_as_short_as_they_can_be_told_apart() {
        let axis =
            ["l2", "lp(p = 3)", "huber(delta = 0.5)", "lp(p = 4)", "at every 16 tokens"]
                .map(str::to_owned);
        let names: Vec<&str> = (0..axis.len()).map(|n| short(&axis, n)).collect();
        assert_eq!(
            names,
            ["l2", "lp(p = 3)", "huber", "lp(p = 4)", "at every 16 tokens"]
        );
    }
}
