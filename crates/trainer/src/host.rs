//! The machine under a run, in words: for people who read its report.

use std::fs;

/// Processor, cores, memory and system, as far as the system tells.
pub(crate) fn facts() -> Vec<(String, String)> {
    let read = |file| fs::read_to_string(file).unwrap_or_default();
    let cores = std::thread::available_parallelism()
        .ok()
        .map(|cores| cores.to_string());
    let facts = [
        ("processor", value(&read("/proc/cpuinfo"), "model name", ':')),
        ("cores", cores),
        (
            "memory",
            value(&read("/proc/meminfo"), "MemTotal", ':').and_then(|size| gibibytes(&size)),
        ),
        ("system", value(&read("/etc/os-release"), "PRETTY_NAME", '=')),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, fact)| Some((name.to_owned(), fact?)));
    known.collect()
}

/// The value of the first line `name: value`.
fn value(text: &str, name: &str, between: char) -> Option<String> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(between)?;
        (key.trim() == name).then(|| value.trim().trim_matches('"').to_owned())
    };
    text.lines().find_map(pair)
}

/// `16336812 kB` as `15.6 GiB`.
fn gibibytes(size: &str) -> Option<String> {
    let kibibytes: f64 = size.strip_suffix(" kB")?.parse().ok()?;
    Some(format!("{:.1} GiB", kibibytes / f64::from(1 << 20)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC: 9B14\nmodel name\t: other\n";
        assert_eq!(value(text, "model name", ':').as_deref(), Some("AMD EPYC: 9B14"));
        assert_eq!(
            value("PRETTY_NAME=\"Debian 13\"", "PRETTY_NAME", '=').as_deref(),
            Some("Debian 13")
        );
        assert_eq!(value(text, "flags", ':'), None);
        assert_eq!(gibibytes("16336812 kB").as_deref(), Some("15.6 GiB"));
        assert_eq!(gibibytes("much kB"), None);
    }
}
