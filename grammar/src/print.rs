//! The formatter: a file's text in the one style, with every comment kept.
//!
//! Comments are no part of the tree. They are found in the text and written out between the statements
//! where they stood; a statement or a head with a comment inside it keeps its own lines.

mod comments;
mod expr;
mod layout;
mod page;
mod part;

pub(crate) use comments::comment_of;

use crate::build::parse;
use crate::diagnostic::Diagnostic;
use crate::source::Sources;

/// The text laid out in the one style.
///
/// # Errors
/// Syntax errors; their spans are of the only file of a [`Sources`] that holds this text.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut sources = Sources::default();
    let file = sources.add("", text);
    let (tree, errors) = parse(&sources, file);
    if !errors.is_empty() {
        return Err(errors);
    }
    let parts: Vec<part::Part> = tree.entries.iter().map(part::entry).collect();
    Ok(page::write(text, &parts))
}
