//! Manifests: tables of paths and labels.

use fcmae_data::{DataConfig, DataError, Dataset, LabelConfig, LabelKind};

use super::shards::take_images;
use crate::target::{Input, Outcome, Seed, Target, Verdict, any_read};

/// A CSV with a column `path` and several that could be labels.
pub(crate) const CSV: Target = Target {
    name: "manifest",
    file: "input.csv",
    seeds: || {
        let texts = [
            "path,label\na.png,0\nsub/b.png,1\nc.png,1\n",
            "path,label\na.png,good\n\"b, c.png\",bad\n\"d \"\"e\"\".png\",good\n",
            "type,label,path\r\nmono,0.25,a.png\r\npoly,0.75,b.png\r\n",
            "path,p,q,label\na.png,0.25,0.75,1\nb.png,1,0,0\n",
            "\u{feff}path\na.png\nb.png\n",
        ];
        texts.map(Seed::plain).into()
    },
    words: &[
        b",",
        b"\n",
        b"\r\n",
        b"\"",
        b"\"\"",
        b";",
        b"\t",
        b"path",
        b"label",
        b"p",
        b"../",
        b"/",
        b"/dev/zero",
        b"\0",
        b"\x1b[31m",
        b"\xff",
        b"\xef\xbb\xbf",
        b"1e-400",
        b"inf",
        b"{0..9}",
        b"*",
    ],
    read,
};

fn read(input: &Input) -> Verdict {
    let config = DataConfig {
        path: Some(input.file.to_owned()),
        val_fraction: 0.5,
        ..DataConfig::default()
    };
    let columns = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let labels = |kind, names| LabelConfig {
        kind,
        columns: columns(names),
        ..LabelConfig::default()
    };
    let judge = |opened: Result<Dataset, DataError>| match opened {
        Ok(dataset) => take_images(&dataset).map(|()| Outcome::Read),
        Err(error) => input.refused(&error),
    };
    any_read([
        judge(Dataset::open(&config)),
        judge(Dataset::open_labelled(&config, &LabelConfig::default())),
        judge(Dataset::open_labelled(
            &config,
            &labels(LabelKind::Soft, &["p", "q"]),
        )),
        judge(Dataset::open_labelled(
            &config,
            &labels(LabelKind::MultiLabel, &["label"]),
        )),
    ])
}
