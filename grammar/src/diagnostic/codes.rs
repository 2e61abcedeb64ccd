//! Every code an error can have, and what it is about.

/// Codes with what each is about. Limitations (`L...`) are not here: each says in its message what
/// cannot be compiled yet.
pub const CODES: &[(&str, &str)] = &[
    ("N001", "syntax"),
    ("N101", "an unknown name"),
    ("N102", "a wrong number or kind of argument"),
    ("N103", "a role that an algorithm cannot have here"),
    ("N104", "a parameter, input or weight bound again, or the next value of no state"),
    ("N105", "a cycle of definitions or of values"),
    ("N106", "`on` names no weight, or one twice, or leaves one out"),
    ("N201", "shapes that do not fit"),
    ("N202", "shapes that fit in two ways"),
    ("N203", "a dimension that does not divide"),
    ("N204", "leading dimensions of one memory that disagree"),
    ("N301", "clocks of which neither divides the other"),
    ("N302", "a window where a single value is needed"),
    ("N303", "a use of the future where it is not known"),
    ("N401", "a weight claimed by two levels"),
    ("N402", "a weight claimed by no level"),
    ("N403", "a target that names nothing"),
    ("N404", "`from` another definition, or a cycle of `from`"),
    ("N501", "a memory that is read and never written"),
    ("N502", "a bias that does not depend on its prediction"),
    ("N503", "an objective that is not differentiable in its target"),
    ("N504", "a penalty without an argmin in closed form"),
    ("N505", "an objective that is not a scalar"),
    ("N506", "a use of what exists only where a condition holds"),
    ("N601", "a gate out of its domain"),
    ("W701", "a form too costly for its sequence length"),
    ("W702", "a library name that is hidden"),
    ("W703", "a memory that is never read"),
    ("W704", "a gate that may let a memory grow without bound"),
];

/// What a code is about; nothing for a limitation or an unknown code.
pub fn about(code: &str) -> Option<&'static str> {
    CODES.iter().find(|row| row.0 == code).map(|row| row.1)
}
