//! Plots of the report, as SVG that scales with the page.

/// A point of a plot with what is said of it.
pub(super) struct Point {
    /// Where.
    pub(super) x: f64,
    /// Where.
    pub(super) y: f64,
    /// Said when it is pointed at.
    pub(super) title: String,
    /// Drawn in the strong colour.
    pub(super) strong: bool,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 46.0;
const TOP: f64 = 28.0;
const RIGHT: f64 = 24.0;

/// Colours that can be told apart.
pub(super) const COLOURS: [&str; 8] = [
    "#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2", "#be185d",
    "#4d7c0f",
];

struct Frame {
    x: (f64, f64),
    y: (f64, f64),
    log: bool,
}

impl Frame {
    fn of(points: impl Iterator<Item = (f64, f64)>, log: bool) -> Option<Self> {
        let mut frame = Self {
            x: (f64::INFINITY, f64::NEG_INFINITY),
            y: (f64::INFINITY, f64::NEG_INFINITY),
            log,
        };
        for (x, y) in points.filter(|(x, y)| x.is_finite() && y.is_finite()) {
            frame.x = (frame.x.0.min(x), frame.x.1.max(x));
            frame.y = (frame.y.0.min(y), frame.y.1.max(y));
        }
        if frame.x.0 > frame.x.1 {
            return None;
        }
        let room = |(low, high): (f64, f64)| {
            let pad =
                if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1.0) };
            // What is never below zero needs no room there.
            let least = if low >= 0.0 { (low - pad).max(0.0) } else { low - pad };
            (least, high + pad)
        };
        frame.y = room(frame.y);
        if log {
            frame.x = (frame.x.0 * 0.93, frame.x.1 * 1.07);
        } else if frame.x.0 == frame.x.1 {
            frame.x = room(frame.x);
        }
        Some(frame)
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let part = if self.log {
            (x / self.x.0).ln() / (self.x.1 / self.x.0).ln()
        } else {
            (x - self.x.0) / (self.x.1 - self.x.0)
        };
        let up = (y - self.y.0) / (self.y.1 - self.y.0);
        (
            LEFT + part * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - up * (HEIGHT - BOTTOM - TOP),
        )
    }

    /// Axes with their names and round numbers; the name of the upright one stands above it.
    fn axes(&self, x: &str, y: &str) -> String {
        let foot = HEIGHT - BOTTOM;
        let mut out = format!(
            "<line x1='{LEFT}' y1='{foot}' x2='{0}' y2='{foot}' class='axis'/><line x1='{LEFT}' y1='{TOP}' x2='{LEFT}' y2='{foot}' class='axis'/>",
            WIDTH - RIGHT
        );
        let along = if self.log { log_ticks(self.x) } else { ticks(self.x) };
        for value in along {
            let (px, _) = self.at(value, self.y.0);
            out.push_str(&format!(
                "<line x1='{px:.1}' y1='{foot}' x2='{px:.1}' y2='{}' class='axis'/><text x='{px:.1}' y='{}' text-anchor='middle'>{}</text>",
                foot + 4.0,
                foot + 18.0,
                number(value)
            ));
        }
        for value in ticks(self.y) {
            let (_, py) = self.at(self.x.1, value);
            out.push_str(&format!(
                "<line x1='{}' y1='{py:.1}' x2='{LEFT}' y2='{py:.1}' class='axis'/><text x='{}' y='{:.1}' text-anchor='end'>{}</text>",
                LEFT - 4.0,
                LEFT - 7.0,
                py + 4.0,
                number(value)
            ));
        }
        out.push_str(&format!(
            "<text x='{}' y='{}' text-anchor='middle'>{x}</text><text x='4' y='14'>{y}</text>",
            f64::midpoint(LEFT, WIDTH),
            HEIGHT - 4.0,
        ));
        out
    }
}

/// Round numbers within a range, four or so.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let rough = (high - low) / 4.0;
    let ten = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .iter()
        .map(|m| m * ten)
        .find(|s| *s >= 0.8 * rough)
        .unwrap_or(10.0 * ten);
    let first = (low / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|v| *v <= high).collect()
}

/// Round numbers within a range of positive ones that is drawn by ratios, as few as say something.
fn log_ticks((low, high): (f64, f64)) -> Vec<f64> {
    let of = |digits: &[f64]| -> Vec<f64> {
        let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        let all =
            (first..=last).flat_map(|k| digits.iter().map(move |m| m * 10f64.powi(k)));
        all.filter(|v| (low..=high).contains(v)).collect()
    };
    let some =
        [of(&[1.0]), of(&[1.0, 2.0, 5.0]), of(&[1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0])];
    let enough = some.into_iter().find(|t| t.len() >= 3);
    enough.unwrap_or_else(|| ticks((low, high)))
}

fn number(value: f64) -> String {
    let text = match value.abs() {
        v if v >= 1e6 => format!("{:.2}", value / 1e6),
        v if v >= 1e4 => format!("{:.1}", value / 1e3),
        _ => format!("{value:.3}"),
    };
    let unit = match value.abs() {
        v if v >= 1e6 => "M",
        v if v >= 1e4 => "k",
        _ => "",
    };
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}{unit}", if text == "-0" || text.is_empty() { "0" } else { text })
}

fn svg(inner: &str, about: &str) -> String {
    format!(
        "<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{about}'>{inner}</svg>"
    )
}

/// Points over a logarithmic axis, and the front of those that none other beats in both.
pub(super) fn front(points: &[Point], x: &str, y: &str, more_is_better: bool) -> String {
    let Some(frame) = Frame::of(points.iter().map(|p| (p.x, p.y)), true) else {
        return String::new();
    };
    let mut order: Vec<&Point> = points.iter().collect();
    let sign = if more_is_better { 1.0 } else { -1.0 };
    order.sort_by(|a, b| a.x.total_cmp(&b.x).then((sign * b.y).total_cmp(&(sign * a.y))));
    let mut best = f64::NEG_INFINITY;
    let mut steps = Vec::new();
    for point in order {
        if sign * point.y > best {
            best = sign * point.y;
            steps.push(frame.at(point.x, point.y));
        }
    }
    let mut out = frame.axes(x, y);
    let line: Vec<String> = steps.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    out.push_str(&format!("<polyline points='{}' class='front'/>", line.join(" ")));
    for point in points {
        let (px, py) = frame.at(point.x, point.y);
        let class = if point.strong { "strong" } else { "weak" };
        out.push_str(&format!(
            "<circle cx='{px:.1}' cy='{py:.1}' r='4' class='{class}'><title>{}</title></circle>",
            super::page::escape(&point.title)
        ));
    }
    svg(&out, "quality over cost")
}

/// A curve with its name.
pub(super) type Curve = (String, Vec<(f64, f64)>);

/// Curves in colours, with a list of their names.
pub(super) fn curves(curves: &[Curve], x: &str, y: &str) -> String {
    let all = curves.iter().flat_map(|(_, c)| c.iter().copied());
    let Some(frame) = Frame::of(all, false) else { return String::new() };
    let mut out = frame.axes(x, y);
    let mut names = String::new();
    for ((name, curve), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> = curve
            .iter()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
            .map(|(x, y)| frame.at(*x, *y))
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        out.push_str(&format!(
            "<polyline points='{}' fill='none' stroke='{colour}' stroke-width='1.8'/>",
            points.join(" ")
        ));
        names.push_str(&format!(
            "<li><span class='key' style='background:{colour}'></span>{}</li>",
            super::page::escape(name)
        ));
    }
    format!("{}<ul class='keys'>{names}</ul>", svg(&out, "learning curves"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_have_round_numbers() {
        let said = |t: Vec<f64>| t.into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(said(ticks((0.0, 0.78))), ["0", "0.2", "0.4", "0.6"]);
        assert_eq!(said(ticks((11.0, 270.0))), ["100", "200"]);
        assert_eq!(said(ticks((-0.02, 0.02))), ["-0.02", "-0.01", "0", "0.01", "0.02"]);
        assert_eq!(said(log_ticks((65e3, 146e3))), ["80k", "100k", "120k", "140k"]);
        assert_eq!(said(log_ticks((900.0, 2e5))), ["1000", "10k", "100k"]);
        assert_eq!(number(1.25e6), "1.25M");
    }
}
