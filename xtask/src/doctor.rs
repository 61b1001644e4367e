//! `doctor`: what is on this machine and, for what is missing, the command that mends it.

use std::fs;
use std::process::Command;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::libtorch::{self, Found};
use crate::{data, download, instructions, paths, process, setup};

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// Not there, and not needed before a verb that asks for it.
    Absent,
    /// Not there, and nothing goes on without it.
    Missing,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Good => "ok",
            State::Absent => "absent",
            State::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    name: String,
    state: State,
    found: String,
    /// What to do, if something should be done.
    mend: Option<String>,
}

impl Finding {
    fn new(name: &str, state: State, found: impl Into<String>, mend: Option<&str>) -> Finding {
        Finding {
            name: name.to_owned(),
            state,
            found: found.into(),
            mend: mend.map(str::to_owned),
        }
    }
}

/// Looks at everything; fails if something is missing without which nothing goes on.
pub(crate) fn run(args: &Args) -> Result<()> {
    let findings = examine()?;
    if args.json {
        println!("{}", as_json(&findings));
    } else {
        print!("{}", as_text(&findings));
    }
    let missing: Vec<_> = findings
        .iter()
        .filter(|f| f.state == State::Missing)
        .map(|f| f.name.as_str())
        .collect();
    if !missing.is_empty() {
        bail!("doctor: {} must be mended first", missing.join(", "));
    }
    Ok(())
}

fn examine() -> Result<Vec<Finding>> {
    let gpu = gpu();
    let mut findings = vec![
        system(),
        compiler(),
        libtorch_found(gpu.is_some()),
        pip(),
        cpu(),
        kernels(&std::env::var(instructions::FORCED).unwrap_or_default()),
        memory(),
    ];
    findings.push(match gpu {
        Some(name) => Finding::new("gpu", State::Good, name, None),
        None => Finding::new(
            "gpu",
            State::Absent,
            "no NVIDIA GPU (`nvidia-smi` shows none); the CPU is used",
            None,
        ),
    });
    for set in &data::SETS {
        let name = format!("data {}", set.name);
        let fetch = format!("cargo xtask data fetch {}", set.name);
        findings.push(match set.is_present()? {
            true => Finding::new(&name, State::Good, set.folder()?.display().to_string(), None),
            false => Finding::new(&name, State::Absent, "not fetched yet", Some(&fetch)),
        });
    }
    findings.push(disk(
        "cache",
        &paths::cache()?,
        "set FCMAE_CACHE to a folder on a larger disk",
    ));
    findings.push(disk(
        "checkout",
        &paths::checkout(),
        "make room; a build takes about 3 GB",
    ));
    Ok(findings)
}

fn system() -> Finding {
    let (os, arch, glibc) = (std::env::consts::OS, std::env::consts::ARCH, setup::glibc());
    match setup::supported(os, arch, glibc.as_deref()) {
        Ok(()) => Finding::new(
            "system",
            State::Good,
            format!("{os} {arch}, glibc {}", glibc.unwrap_or_default()),
            None,
        ),
        Err(why) => Finding::new("system", State::Absent, why.to_string(), None),
    }
}

fn compiler() -> Finding {
    match libtorch::compiler() {
        Ok(version) => Finding::new("compiler", State::Good, version, None),
        Err(why) => Finding::new("compiler", State::Missing, why, Some("apt-get install g++")),
    }
}

fn libtorch_found(gpu: bool) -> Finding {
    match libtorch::find() {
        Found::Variable { name, value } => {
            let doubt = libtorch::check(&value).err().filter(|_| name == "LIBTORCH");
            let text = format!("{name}={}, set by you", value.display());
            match doubt {
                None => Finding::new("libtorch", State::Good, text, None),
                Some(why) => Finding::new(
                    "libtorch",
                    State::Absent,
                    format!("{text}, but {why}"),
                    Some("unset LIBTORCH"),
                ),
            }
        }
        Found::Linked { folder, version } => {
            // a GPU and a libtorch that cannot use it: worth saying, not wrong
            let mend =
                (gpu && !folder.join("lib/libtorch_cuda.so").exists()).then_some("cargo xtask setup --cuda");
            Finding::new(
                "libtorch",
                State::Good,
                format!("{version} in {}", folder.display()),
                mend,
            )
        }
        Found::Nothing { why } => Finding::new("libtorch", State::Absent, why, Some("cargo xtask setup")),
    }
}

fn pip() -> Finding {
    match download::pip_version() {
        Ok(version) => Finding::new(
            "pip",
            State::Good,
            format!("{}, {version}", download::python()),
            None,
        ),
        Err(why) => Finding::new(
            "pip",
            State::Absent,
            why.to_string(),
            Some("apt-get install python3-pip"),
        ),
    }
}

/// Instruction sets that make a difference to the kernels, as Linux calls them.
const FEATURES: [&str; 6] = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "avx512_fp16"];

fn cpu() -> Finding {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    Finding::new("cpu", State::Good, describe_cpu(&info), None)
}

/// The back end of the kernels on this CPU where `FCMAE_KERNELS` is `forced`.
fn kernels(forced: &str) -> Finding {
    let available = instructions::available();
    match instructions::taken(forced, &available) {
        Ok(path) => Finding::new("kernels", State::Good, path, None),
        Err(why) => {
            let names: Vec<_> = available.iter().map(|path| path.name).collect();
            let mend = format!(
                "unset {}, or set it to {}",
                instructions::FORCED,
                names.join(", ")
            );
            Finding::new("kernels", State::Missing, why, Some(&mend))
        }
    }
}

/// `<model>, <cores> cores, <instruction sets>` from the text of `/proc/cpuinfo`.
pub(crate) fn describe_cpu(info: &str) -> String {
    let field = |name: &str| {
        info.lines()
            .find(|line| line.starts_with(name))
            .and_then(|line| line.split_once(':'))
            .map(|(_, v)| v.trim())
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let flags: Vec<_> = field("flags").unwrap_or_default().split_whitespace().collect();
    let present: Vec<_> = FEATURES.into_iter().filter(|f| flags.contains(f)).collect();
    let sets = if present.is_empty() {
        "no AVX2".to_owned()
    } else {
        present.join(" ")
    };
    format!(
        "{}, {cores} cores, {sets}",
        field("model name").unwrap_or("unknown model")
    )
}

fn memory() -> Finding {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    match (kib("MemTotal:"), kib("MemAvailable:")) {
        (Some(total), Some(free)) => {
            let text = format!(
                "{}, {} available",
                paths::human(total * 1024),
                paths::human(free * 1024)
            );
            Finding::new("memory", State::Good, text, None)
        }
        _ => Finding::new("memory", State::Absent, "cannot be told here", None),
    }
}

fn gpu() -> Option<String> {
    let query = [
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ];
    let text = process::capture(Command::new("nvidia-smi").args(query)).ok()?;
    Some(text.trim().lines().collect::<Vec<_>>().join("; ")).filter(|text| !text.is_empty())
}

fn disk(name: &str, folder: &std::path::Path, mend: &str) -> Finding {
    const ENOUGH: u64 = 3_000_000_000;
    let name = format!("disk ({name})");
    match paths::free_bytes(folder) {
        Some(free) => {
            let mend = (free < ENOUGH).then_some(mend);
            Finding::new(
                &name,
                State::Good,
                format!("{} free in {}", paths::human(free), folder.display()),
                mend,
            )
        }
        None => Finding::new(&name, State::Absent, "`df` cannot tell how much is free", None),
    }
}

fn as_text(findings: &[Finding]) -> String {
    let line = |f: &Finding| {
        let mend = f
            .mend
            .as_ref()
            .map(|m| format!("{:27}-> {m}\n", ""))
            .unwrap_or_default();
        format!("{:8} {:17} {}\n{mend}", f.state.word(), f.name, f.found)
    };
    findings.iter().map(line).collect()
}

fn as_json(findings: &[Finding]) -> Value {
    let entry = |f: &Finding| {
        (
            f.name.clone(),
            json!({"state": f.state.word(), "found": f.found.as_str(), "mend": f.mend}),
        )
    };
    Value::Object(findings.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_thing_comes_with_its_command() {
        let findings = [
            Finding::new(
                "compiler",
                State::Missing,
                "no C++ compiler",
                Some("apt-get install g++"),
            ),
            Finding::new("gpu", State::Absent, "none", None),
        ];
        let text = as_text(&findings);
        assert_eq!(text.lines().count(), 3);
        assert!(text.lines().nth(1).unwrap().trim() == "-> apt-get install g++");
        let json = as_json(&findings);
        assert_eq!(json["compiler"]["mend"], "apt-get install g++");
        assert_eq!(
            (&json["gpu"]["state"], &json["gpu"]["mend"]),
            (&json!("absent"), &Value::Null)
        );
    }

    #[test]
    fn instruction_sets_are_read_as_whole_words() {
        let info = "model name\t: Some CPU\nflags\t\t: fpu avx2x fma avx512f\n";
        let text = describe_cpu(info);
        assert!(
            text.starts_with("Some CPU, ") && text.ends_with(" cores, fma avx512f"),
            "{text}"
        );
        assert!(describe_cpu("").starts_with("unknown model"));
    }

    #[test]
    fn kernels_that_this_cpu_lacks_are_an_error_with_a_way_out() {
        let finding = kernels("avx1024");
        assert_eq!(finding.state, State::Missing);
        let mend = finding.mend.unwrap();
        assert!(
            mend.starts_with("unset FCMAE_KERNELS, or set it to reference, portable"),
            "{mend}"
        );
        assert!(kernels("portable").found.contains("forced by FCMAE_KERNELS"));
    }

    #[test]
    fn this_machine_can_be_examined() {
        let findings = examine().unwrap();
        for name in [
            "system",
            "compiler",
            "libtorch",
            "pip",
            "cpu",
            "kernels",
            "memory",
            "gpu",
            "data elpv",
        ] {
            assert!(
                findings.iter().any(|f| f.name == name && !f.found.is_empty()),
                "{name}"
            );
        }
    }
}
