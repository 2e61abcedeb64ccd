//! What does not fit, in words: shape errors with both shapes, what each is called and where it
//! comes from; windows where one value is needed.

use crate::elaborate::Elaborator;
use crate::trail::Side;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::{Diagnostic, Span};

/// How two shapes fail to meet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// Element by element, in no way.
    Elements,
    /// Element by element, in more than one way.
    Ambiguous,
    /// As factors of `@`.
    Product,
    /// As factors of `@`, but the second one's transpose would.
    Turned,
}

/// Two shapes that do not meet.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Misfit {
    /// How.
    pub(crate) why: Why,
    /// Both shapes as text.
    pub(crate) shapes: [String; 2],
    /// Which of them is a window in time that would fit if it were reduced.
    pub(crate) window: Option<usize>,
}

impl Misfit {
    /// Element by element.
    pub(crate) fn elements(a: &Tensor, b: &Tensor, ways: usize) -> Self {
        let why = if ways == 0 { Why::Elements } else { Why::Ambiguous };
        let mut window = None;
        for (n, (t, other)) in [(a, b), (b, a)].into_iter().enumerate() {
            let Some(w) = &t.window else { continue };
            let mut reduced = t.dims.clone();
            reduced.remove(w.axis);
            let sizes = |d: &[NamedDim]| d.iter().map(|d| d.size).collect::<Vec<_>>();
            if other.window.is_none() && sizes(&reduced) == sizes(&other.dims) {
                window = Some(n);
            }
        }
        Self { why, shapes: [shape_text(&a.dims), shape_text(&b.dims)], window }
    }

    /// As factors of `@`.
    pub(crate) fn product(a: &Tensor, b: &Tensor) -> Self {
        let last = a.dims.last().map(|d| d.size);
        let turned =
            b.dims.len() == 2 && last.is_some() && b.dims.last().map(|d| d.size) == last;
        let why = if turned { Why::Turned } else { Why::Product };
        let shapes = [shape_text(&a.dims), shape_text(&b.dims)];
        Self { why, shapes, window: None }
    }
}

impl<'a> Elaborator<'a> {
    /// The result of a fit, or its diagnostic.
    pub(crate) fn fitted(&mut self, made: Result<Tensor, Misfit>, span: Span) -> Value {
        let misfit = match made {
            Ok(t) => return Value::Tensor(t),
            Err(misfit) => misfit,
        };
        let sides = self.trail.sides.take();
        if let Some(n) = misfit.window {
            let place = sides.as_ref().map_or(span, |s| s[n].span);
            return self.window_needs_reducing(&misfit.shapes[n], place);
        }
        let [left, right] = &misfit.shapes;
        let names = sides.as_ref().map(|[a, b]| [a.name.as_str(), b.name.as_str()]);
        let words = match names {
            Some(["this", "this"]) | None => format!("{left} with {right}"),
            Some([a, b]) => format!("{a} is {left}, {b} is {right}"),
        };
        let (code, text, help) = match misfit.why {
            Why::Elements => (
                "N201",
                format!("shapes do not fit: {words}"),
                "element by element, shapes are equal, or the dimensions of the smaller one all stand in the larger one",
            ),
            Why::Ambiguous => (
                "N202",
                format!("shapes fit in two ways: {words}"),
                "name the two dimensions apart, `Mine(d_k, d_v)`, to say which is meant",
            ),
            Why::Product => (
                "N201",
                format!("shapes do not fit: {words}"),
                "`a @ b` sums over the last dimension of a and the first of b, which must be equal",
            ),
            Why::Turned => (
                "N201",
                format!("shapes do not fit: {words}"),
                "the second one turned would fit: write `.T` after it",
            ),
        };
        let mut diagnostic = Diagnostic::error(code, span, text).help(help);
        if misfit.why == Why::Ambiguous {
            return self.report(diagnostic.says("rows or columns?"));
        }
        if let Some([a, b]) = sides {
            diagnostic.labels[0].span = b.span;
            diagnostic = from_here(diagnostic.says(right.clone()), &b, b.span);
            diagnostic = diagnostic.label(a.span, left.clone());
            diagnostic = from_here(diagnostic, &a, b.span);
        }
        self.report(diagnostic)
    }

    /// A window in time where one value is needed.
    pub(crate) fn window_needs_reducing(&mut self, shape: &str, span: Span) -> Value {
        let text = format!("{shape} is a window of tokens where one value is needed");
        self.report(
            Diagnostic::error("N302", span, text)
                .says("a window")
                .help("reduce it: `mean(x, axis = 0)`, `sum(x, axis = 0)` or `last(x)`"),
        )
    }

    /// Refuses a window whose tokens would become many memories.
    pub(crate) fn no_window(
        &mut self,
        t: &Tensor,
        strip: usize,
        span: Span,
    ) -> Option<()> {
        let windowed = t.window.as_ref().is_some_and(|w| w.axis < strip);
        if windowed {
            let place = self.origin(t.frame, t.node).unwrap_or(span);
            self.window_needs_reducing(&shape_text(&t.dims), place);
        }
        (!windowed).then_some(())
    }
}

/// Adds where an operand was made, unless that is in another file or around the error itself.
fn from_here(diagnostic: Diagnostic, side: &Side, at: Span) -> Diagnostic {
    match side.origin {
        Some(o) if o.file == at.file && !(o.start <= at.start && at.end <= o.end) => {
            diagnostic.label(o, format!("{} comes from here", side.name))
        }
        Some(_) | None => diagnostic,
    }
}
