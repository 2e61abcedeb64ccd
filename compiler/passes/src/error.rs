//! Failures after the front end. A user's mistake was found earlier, so every failure here is
//! ours: a bug, or something that is not done yet and says so.

use thiserror::Error;

/// Why a pass stopped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PassError {
    /// A pass broke its own contract.
    #[error("internal error in {pass}: {what}")]
    Bug {
        /// The pass.
        pass: &'static str,
        /// What happened.
        what: String,
    },
    /// A program that is right but not supported.
    #[error("not supported ({code}): {what}; {help}")]
    Limitation {
        /// A stable code.
        code: &'static str,
        /// What is not supported.
        what: String,
        /// What to do instead.
        help: String,
    },
}

impl PassError {
    /// A bug of `pass`.
    pub fn bug(pass: &'static str, what: impl Into<String>) -> Self {
        Self::Bug { pass, what: what.into() }
    }
    /// A limitation.
    pub fn limitation(
        code: &'static str,
        what: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self::Limitation { code, what: what.into(), help: help.into() }
    }
}
