//! The loss curve of a run as a picture: training loss, smoothed, and validation points.

use super::durable;
use super::metrics::Line;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 44.0;

/// Writes the picture; it appears whole or not at all.
///
/// # Errors
/// Where it cannot be written.
pub fn write(path: &Path, lines: &[Line]) -> io::Result<()> {
    let picture = draw(lines);
    durable::replace(path, &mut |out| out.write_all(picture.as_bytes()))
}

/// The picture, in bits a token.
pub fn draw(lines: &[Line]) -> String {
    let bits = |nats: f64| nats / std::f64::consts::LN_2;
    let training: Vec<(f64, f64)> = smoothed(
        lines.iter().filter_map(|l| Some((l.step as f64, bits(l.loss?)))).collect(),
    );
    let held_out: Vec<(f64, f64)> = lines
        .iter()
        .filter_map(|l| {
            let y = l.validation_bits_per_byte.or(l.validation_loss.map(bits))?;
            Some((l.step as f64, y))
        })
        .collect();
    let all = || training.iter().chain(&held_out).map(|p| p.1).filter(|y| y.is_finite());
    let low = all().fold(f64::INFINITY, f64::min);
    let high = all().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low < high { (low, high) } else { (0.0, 1.0) };
    let step = tick(high - low);
    let (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
    let last = lines.last().map_or(1.0, |l| l.step.max(1) as f64);
    let x = |s: f64| LEFT + (WIDTH - LEFT - RIGHT) * s / last;
    let y = |v: f64| TOP + (HEIGHT - TOP - BOTTOM) * (high - v) / (high - low);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n<style>\n\
         :root {{ --ink: #24292f; --faint: #d0d7de; --a: #8ab4f8; --b: #d1495b; --page: #fff }}\n\
         @media (prefers-color-scheme: dark) {{ :root {{ --ink: #e6edf3; --faint: #30363d; \
         --a: #4c78a8; --b: #ff8fa3; --page: #0d1117 }} }}\n\
         text {{ fill: var(--ink) }} .grid {{ stroke: var(--faint) }}\n</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"var(--page)\"/>\n"
    );
    let mut at = low;
    while at <= high + step / 2.0 {
        let v = y(at);
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{v:.1}\" y2=\"{v:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{at:.2}</text>",
            WIDTH - RIGHT,
            LEFT - 8.0,
            v + 4.0
        );
        at += step;
    }
    for n in 0..=4 {
        let s = last * f64::from(n) / 4.0;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{s:.0}</text>",
            x(s),
            HEIGHT - BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">step</text>\
         <text x=\"{LEFT}\" y=\"16\">loss, bits a token (line) and bits a byte held out (points)</text>",
        f64::midpoint(LEFT, WIDTH - RIGHT),
        HEIGHT - 8.0
    );
    let path: Vec<String> =
        training.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
    let _ = writeln!(
        out,
        "<polyline fill=\"none\" stroke=\"var(--a)\" stroke-width=\"1.6\" points=\"{}\"/>",
        path.join(" ")
    );
    for p in &held_out {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"var(--b)\"><title>step {}: {:.3}</title></circle>",
            x(p.0),
            y(p.1),
            p.0,
            p.1
        );
    }
    out.push_str("</svg>\n");
    out
}

/// An exponential average over about a hundredth of the run, and at most a thousand points.
fn smoothed(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let weight = (100.0 / points.len().max(1) as f64).clamp(0.02, 1.0);
    let mut mean = None;
    let smooth: Vec<(f64, f64)> = points
        .into_iter()
        .map(|(s, y)| {
            let next = mean.map_or(y, |m| m + weight * (y - m));
            mean = Some(next);
            (s, next)
        })
        .collect();
    let every = smooth.len().div_ceil(1000).max(1);
    smooth.into_iter().step_by(every).collect()
}

/// A round distance between grid lines.
fn tick(range: f64) -> f64 {
    let rough = range / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let of = [1.0, 2.0, 5.0, 10.0];
    of.into_iter().map(|m| m * power).find(|t| *t >= rough).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_has_its_line_and_its_points() {
        let line = |step: u64| Line {
            step,
            tokens: step,
            seconds: 1.0,
            loss: Some(3.0 / step as f64),
            gradient_norm: None,
            tokens_per_second: None,
            levels: vec![],
            validation_loss: step.is_multiple_of(5).then_some(1.0),
            validation_bits_per_byte: None,
            score: None,
        };
        let lines: Vec<Line> = (1..=20).map(line).collect();
        let svg = draw(&lines);
        assert_eq!(svg.matches("<circle").count(), 4);
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(!draw(&[]).contains("NaN"));
    }
}
