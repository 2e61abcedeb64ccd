//! Times on the command line: a number with its unit, `90s`, `30m`, `2h`.

/// A time with its unit.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "expected a number and s, m or h, such as 30m".to_owned();
    let number = text.trim_end_matches(['s', 'm', 'h']);
    let unit = match &text[number.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<f64>().map_err(|_| wrong())? * unit;
    std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}
