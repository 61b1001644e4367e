//! `provenance.json`: where a run comes from, for its report.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use fcmae_checkpoint::replace_file;
use fcmae_report::Provenance;

use super::Source;
use crate::host;
use crate::machine::Machine;
use crate::run_folder::RunFolder;

/// Writes where the run comes from; a run that goes on from its own resolved config comes from where it came from
/// before.
pub(super) fn write(
    folder: &RunFolder,
    verb: &str,
    [network, images]: [String; 2],
    machine: &Machine,
    source: &Source,
) -> Result<()> {
    let provenance = Provenance {
        task: verb.to_owned(),
        command: source.command.clone(),
        network,
        images,
        machine: facts(machine),
        origins: origins(folder, source),
    };
    let text = serde_json::to_string_pretty(&provenance)? + "\n";
    Ok(replace_file(&folder.provenance(), |out| {
        out.write_all(text.as_bytes())
    })?)
}

/// What stands in the run's own config was given elsewhere, or is a default.
fn origins(folder: &RunFolder, source: &Source) -> BTreeMap<String, String> {
    let resolved = format!("{}:", folder.config().display());
    let before = read(folder)
        .map(|provenance| provenance.origins)
        .unwrap_or_default();
    let given = source.origins.iter().filter_map(|(key, origin)| {
        let is_resolved = origin.starts_with(&resolved);
        Some((
            key.clone(),
            if is_resolved { before.get(key)? } else { origin }.clone(),
        ))
    });
    given.collect()
}

/// What an earlier start wrote, if anything can be read of it.
fn read(folder: &RunFolder) -> Option<Provenance> {
    serde_json::from_str(&fs::read_to_string(folder.provenance()).ok()?).ok()
}

fn facts(machine: &Machine) -> Vec<(String, String)> {
    let own = [
        ("fcmae", env!("CARGO_PKG_VERSION").to_owned()),
        ("libtorch", machine.libtorch.clone()),
        ("device", machine.device.clone()),
        ("threads", machine.threads.to_string()),
        ("kernels", machine.kernels.clone()),
    ];
    let own = own.into_iter().map(|(name, fact)| (name.to_owned(), fact));
    own.chain(host::facts()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_folder::RunFolder;

    #[test]
    fn a_run_that_goes_on_from_its_own_config_keeps_its_origins() {
        let home = tempfile::tempdir().unwrap();
        let folder = RunFolder::open(home.path()).unwrap();
        let machine = Machine {
            device: "cpu".into(),
            kernels: "k".into(),
            libtorch: "2".into(),
            threads: 1,
        };
        let written = |origins: &[(&str, String)]| {
            let source = Source {
                command: "fcmae pretrain a.toml".into(),
                origins: origins
                    .iter()
                    .map(|(key, origin)| ((*key).to_owned(), origin.clone()))
                    .collect(),
            };
            write(&folder, "pretrain", ["n".into(), "i".into()], &machine, &source).unwrap();
            read(&folder).unwrap()
        };
        let first = written(&[("seed", "a.toml:1".into())]);
        assert_eq!(first.machine[1], ("libtorch".to_owned(), "2".to_owned()));
        let own = |line: u32| format!("{}:{line}", folder.config().display());
        let again = written(&[
            ("seed", own(1)),
            ("threads", own(2)),
            ("device", "--set device=cpu".into()),
        ]);
        assert_eq!(again.origins["seed"], "a.toml:1");
        assert_eq!(again.origins["device"], "--set device=cpu");
        assert!(!again.origins.contains_key("threads"), "a default");
    }
}
