//! Configs of runs, and values set over them.

use fcmae_trainer::{FinetuneConfig, PretrainConfig};

use super::checkout;
use crate::target::{Input, Outcome, Seed, Target, Verdict, any_read};

/// TOML, read as either kind of run; the last line serves as a `--set` too.
pub(crate) const TOML: Target = Target {
    name: "config",
    file: "input.toml",
    seeds: || {
        let files = [
            "pretrain/elpv-atto.toml",
            "pretrain/imagenet-tiny.toml",
            "finetune/elpv-atto.toml",
        ];
        let resolved = files.map(|name| {
            let file = checkout(&format!("configs/{name}"));
            let resolved = fcmae_config::load(file, &["data.path=images".to_owned()]);
            Seed::plain(resolved.expect("a config of the checkout").to_toml())
        });
        let small = "seed = 1\n[data]\npath = \"images\"\nimage_size = [96, 128]\nmean = [0.5, 0.5, 0.5]\n";
        resolved
            .into_iter()
            .chain([defaults(), Seed::plain(small)])
            .collect()
    },
    words: &[
        b"[",
        b"]",
        b"[[",
        b"{",
        b"}",
        b"=",
        b".",
        b"\"",
        b"\"\"\"",
        b"'",
        b"#",
        b"\n",
        b"\\n",
        b"\\u0000",
        b"a.b.c.d",
        b"extends = \"input.toml\"\n",
        b"extends = \"/dev/null\"\n",
        b"9223372036854775807",
        b"-1",
        b"1e400",
        b"nan",
        b"inf",
        b"true",
        b"1979-05-27",
        b"[data]",
        b"[model]",
        b"depths = [",
        b"dims = [",
        b"image_size",
        b"\x1b[31m",
    ],
    read,
};

/// Every key there is.
fn defaults() -> Seed {
    let mut config = FinetuneConfig::default();
    config.data.path = Some("images".into());
    Seed::plain(fcmae_config::to_toml(&config).expect("a default config"))
}

fn read(input: &Input) -> Verdict {
    let text = String::from_utf8_lossy(input.bytes);
    let overrides: Vec<String> = if input.number.is_multiple_of(4) {
        text.lines().last().map(str::to_owned).into_iter().collect()
    } else {
        Vec::new()
    };
    let judge = |error: Option<anyhow::Error>| match error {
        None => Ok(Outcome::Read),
        // A value that was set over the file is called by its own text.
        Some(error) => {
            let message = format!("{error:#}");
            let named = if overrides.is_empty() {
                message
            } else {
                format!("input.toml: {message}")
            };
            input.refused(&named)
        }
    };
    any_read([
        judge(PretrainConfig::load(input.file, &overrides).err()),
        judge(FinetuneConfig::load(input.file, &overrides).err()),
    ])
}
