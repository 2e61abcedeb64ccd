//! One shape of error, for every stage that speaks to users.

mod codes;

pub use codes::{CODES, about};

use crate::source::{Sources, Span};
use ariadne::{Color, Config, IndexType, Label as Mark, Report, ReportKind};

/// How grave it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// The spec is wrong.
    Error,
    /// The spec is right, but not all of it can be compiled yet.
    Limitation,
    /// Worth a look.
    Warning,
}

/// A place and what to say of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What to say.
    pub text: String,
}

/// What is wrong, where, why and what to do.
#[derive(Clone, PartialEq, Debug)]
pub struct Diagnostic {
    /// Its code, `N201`.
    pub code: &'static str,
    /// How grave.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// The place, then others that bear on it; none where no text is to blame.
    pub labels: Vec<Label>,
    /// More of the cause.
    pub notes: Vec<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Error, span, message)
    }
    /// A warning at a place.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(code, Severity::Warning, span, message)
    }
    /// Something right that cannot be compiled yet.
    pub fn limitation(
        code: &'static str,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        Self::new(code, Severity::Limitation, span, message)
    }
    /// An error that stands in no text: a name on the command line, say.
    pub fn nowhere(code: &'static str, message: impl Into<String>) -> Self {
        Self { labels: Vec::new(), ..Self::error(code, Span::default(), message) }
    }
    fn new(
        code: &'static str,
        severity: Severity,
        span: Span,
        message: impl Into<String>,
    ) -> Self {
        let labels = vec![Label { span, text: String::new() }];
        let (message, notes, help) = (message.into(), Vec::new(), None);
        Self { code, severity, message, labels, notes, help }
    }
    /// Says something of the place itself.
    #[must_use]
    pub fn says(mut self, text: impl Into<String>) -> Self {
        self.labels[0].text = text.into();
        self
    }
    /// Adds another place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }
    /// Adds a line on the cause.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
    /// Says what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
    /// The same, said of the call that led to it; the place it had stays as a second one.
    #[must_use]
    pub fn called_from(mut self, call: Span) -> Self {
        let first = self.labels.first_mut();
        let text = first.map(|l| {
            std::mem::replace(&mut l.text, "in the text of what is called".into())
        });
        let text = text.unwrap_or_default();
        self.labels.insert(0, Label { span: call, text });
        self
    }
    /// Where it is; the start of everything where that is nowhere.
    pub fn span(&self) -> Span {
        self.labels.first().map_or_else(Span::default, |l| l.span)
    }

    /// As people read it: code, place, the lines of source, cause and help.
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        let (word, paint) = match self.severity {
            Severity::Error => ("error", Color::Red),
            Severity::Limitation => ("limitation", Color::Magenta),
            Severity::Warning => ("warning", Color::Yellow),
        };
        let place = |span: Span| {
            let name = sources.get(span.file).name.clone();
            (name, span.start as usize..span.end as usize)
        };
        let title = format!("{word}[{}]", self.code);
        if self.labels.is_empty() {
            let more = self.notes.iter().map(|n| format!("  Note: {n}\n"));
            let help = self.help.iter().map(|h| format!("  Help: {h}\n"));
            let more: String = more.chain(help).collect();
            return format!("{title}: {}\n{more}", self.message);
        }
        let mut report =
            Report::build(ReportKind::Custom(&title, paint), place(self.span()))
                .with_config(
                    Config::default().with_color(color).with_index_type(IndexType::Byte),
                )
                .with_message(&self.message);
        let main = self.span().file;
        let mut ordered: Vec<(usize, &Label)> = self.labels.iter().enumerate().collect();
        // Labels in the order of the text share one excerpt; those of other files follow.
        ordered.sort_by_key(|(_, l)| (l.span.file != main, l.span));
        for (order, (n, label)) in ordered.into_iter().enumerate() {
            let color = if n == 0 { paint } else { Color::Blue };
            let text = if n == 0 && label.text.is_empty() { "here" } else { &label.text };
            let mark = Mark::new(place(label.span)).with_message(text).with_color(color);
            report.add_label(mark.with_order(i32::try_from(order).unwrap_or(i32::MAX)));
        }
        for note in &self.notes {
            report.add_note(note);
        }
        if let Some(help) = &self.help {
            report.add_help(help);
        }
        let texts = sources.iter().map(|(_, s)| (s.name.clone(), s.text.clone()));
        let mut out = Vec::new();
        match report.finish().write(ariadne::sources(texts), &mut out) {
            Ok(()) => {
                let text = String::from_utf8_lossy(&out);
                // The title is coloured whatever the configuration says.
                let text = if color { text.into_owned() } else { without_color(&text) };
                text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
            }
            Err(_) => format!("{title}: {}\n", self.message),
        }
    }
}

/// The text without the control sequences that colour it.
fn without_color(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        out.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    out
}
