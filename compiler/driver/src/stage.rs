//! The stages whose text can be printed, in the order in which a spec passes them.

/// A stage of the compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The syntax tree.
    Ast,
    /// The level program.
    Levels,
}

impl Stage {
    /// All stages with their names.
    pub const ALL: &'static [(Stage, &'static str)] =
        &[(Stage::Ast, "ast"), (Stage::Levels, "levels")];

    /// The stage of a name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(s, _)| *s)
    }
}
