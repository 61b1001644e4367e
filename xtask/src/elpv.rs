//! ELPV, the default data set: 2,624 electroluminescence images of solar cells, and our one split of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::download;

/// Goes into the hash of each file name; another text would be another split.
const SPLIT_KEY: &str = "fcmae-elpv-split-1:";

/// Written beside the data.
const NOTE: &str = "\
# ELPV

2,624 electroluminescence images of solar cells, 300 x 300 pixels, 8-bit grey, from 44 modules.
`labels.csv` is the original; `train.csv` and `test.csv` were written by `cargo xtask data fetch elpv`:
defective means a defect probability of at least 0.5, every fourth image of each kind of cell and
each probability is held out for testing, picked by a hash of its file name.

Licence of the images and labels: Creative Commons Attribution-NonCommercial-ShareAlike 4.0
International (CC BY-NC-SA 4.0), text in LICENSE.md. No commercial use without asking the authors.
Source: https://github.com/zae-bayern/elpv-dataset

Please cite: Deitsch, Christlein, Berger, Buerhop-Lutz, Maier, Gallwitz, Riess, Automatic classification
of defective photovoltaic module cells in electroluminescence images, Solar Energy 185 (2019) 455-468;
Buerhop-Lutz et al., A Benchmark for Visual Identification of Defective Solar Cells in
Electroluminescence Imagery, EU PVSEC 2018; Deitsch et al., Segmentation of photovoltaic module cells in
uncalibrated electroluminescence images, Machine Vision and Applications 32 (2021).
";

/// One line of `labels.csv`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    /// `images/cell0001.png`
    path: String,
    /// Defect probability as written: `0.0`, `0.3333333333333333`, `0.6666666666666666` or `1.0`.
    probability: String,
    /// `mono` or `poly`.
    kind: String,
}

impl Cell {
    fn class(&self) -> &'static str {
        // the file knows only four values, so the text's number is exact enough
        if self.probability.parse::<f64>().is_ok_and(|p| p >= 0.5) {
            "defective"
        } else {
            "functional"
        }
    }

    fn key(&self) -> [u8; 32] {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        Sha256::digest(format!("{SPLIT_KEY}{name}")).into()
    }
}

/// Unpacks the wheel into `folder` and writes the two manifests and the note.
pub(crate) fn lay_out(wheel: &Path, folder: &Path) -> Result<()> {
    download::unpack(wheel, folder, |name| {
        let data = name.strip_prefix("elpv_dataset/data/").map(PathBuf::from);
        data.or_else(|| {
            name.ends_with("/licenses/LICENSE.md")
                .then(|| "LICENSE.md".into())
        })
    })?;
    let labels = folder.join("labels.csv");
    let text =
        fs::read_to_string(&labels).with_context(|| format!("{}: cannot be read", labels.display()))?;
    let cells = parse(&text)?;
    if let Some(cell) = cells.iter().find(|cell| !folder.join(&cell.path).is_file()) {
        bail!("labels.csv names {}, which is not in the wheel", cell.path);
    }
    let (train, test) = split(cells);
    for (name, text) in [
        ("train.csv", csv(&train)),
        ("test.csv", csv(&test)),
        ("README.md", NOTE.to_owned()),
    ] {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<Cell>> {
    let cell = |line: &str| {
        let [path, probability, kind] = line.split_whitespace().collect::<Vec<_>>().try_into().ok()?;
        probability
            .parse::<f64>()
            .ok()
            .filter(|p| (0.0..=1.0).contains(p))?;
        Some(Cell {
            path: path.to_owned(),
            probability: probability.to_owned(),
            kind: kind.to_owned(),
        })
    };
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            cell(line)
                .with_context(|| format!("labels.csv:{}: not `path probability type`: {line:?}", number + 1))
        })
        .collect()
}

/// Three quarters and one quarter, stratified by (probability, type); in each stratum the lowest hashes are for testing.
fn split(cells: Vec<Cell>) -> (Vec<Cell>, Vec<Cell>) {
    let total = cells.len() / 4;
    let mut strata = BTreeMap::<(String, String), Vec<Cell>>::new();
    for cell in cells {
        strata
            .entry((cell.probability.clone(), cell.kind.clone()))
            .or_default()
            .push(cell);
    }
    let sizes: Vec<usize> = strata.values().map(Vec::len).collect();
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for (mut stratum, count) in strata.into_values().zip(quotas(&sizes, total)) {
        stratum.sort_by_key(Cell::key);
        train.extend(stratum.split_off(count));
        test.extend(stratum);
    }
    train.sort();
    test.sort();
    (train, test)
}

/// Quarters of `sizes`, rounded so that they add up to `total`: the largest remainders go up, the earlier first.
fn quotas(sizes: &[usize], total: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = sizes.iter().map(|n| n / 4).collect();
    let missing = total - counts.iter().sum::<usize>();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(sizes[i] % 4), i));
    order.into_iter().take(missing).for_each(|i| counts[i] += 1);
    counts
}

fn csv(cells: &[Cell]) -> String {
    let line = |c: &Cell| format!("{},{},{},{}\n", c.path, c.class(), c.probability, c.kind);
    ["path,label,probability,type\n".to_owned()]
        .into_iter()
        .chain(cells.iter().map(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::tests::fake_wheel;

    /// As many cells of each stratum as the real file has.
    fn real_counts() -> Vec<Cell> {
        let strata = [
            ("0.0", "poly", 920),
            ("0.0", "mono", 588),
            ("1.0", "poly", 402),
            ("1.0", "mono", 313),
            ("0.3333333333333333", "poly", 178),
            ("0.3333333333333333", "mono", 117),
            ("0.6666666666666666", "mono", 56),
            ("0.6666666666666666", "poly", 50),
        ];
        let all = strata
            .iter()
            .flat_map(|(p, kind, n)| std::iter::repeat_n((*p, *kind), *n))
            .enumerate();
        all.map(|(i, (p, kind))| Cell {
            path: format!("images/cell{:04}.png", i + 1),
            probability: p.into(),
            kind: kind.into(),
        })
        .collect()
    }

    fn count(cells: &[Cell], probability: &str, kind: &str) -> usize {
        cells
            .iter()
            .filter(|c| c.probability == probability && c.kind == kind)
            .count()
    }

    #[test]
    fn the_split_is_1968_and_656_and_keeps_the_strata() {
        let (train, test) = split(real_counts());
        assert_eq!((train.len(), test.len()), (1968, 656));
        for cell in &test {
            assert!(
                train.binary_search(cell).is_err(),
                "{} is on both sides",
                cell.path
            );
        }
        assert_eq!(count(&test, "0.0", "poly"), 230);
        assert_eq!(count(&test, "0.6666666666666666", "mono"), 14);
        // 402, 178 and 50 leave half an image each and two are missing: the lower probabilities get them
        let halves = ["0.3333333333333333", "0.6666666666666666", "1.0"].map(|p| count(&test, p, "poly"));
        assert_eq!(halves, [45, 13, 100]);
    }

    #[test]
    fn the_split_depends_on_names_and_not_on_order() {
        let (train, test) = split(real_counts());
        let mut turned = real_counts();
        turned.reverse();
        assert_eq!(split(turned), (train, test));
        // `printf fcmae-elpv-split-1:cell0001.png | sha256sum`
        let cell = &real_counts()[0];
        assert_eq!(download::hex(&cell.key()), KEY_OF_CELL_1);
    }

    const KEY_OF_CELL_1: &str = "1a718538833aca6533029efb4d9abc57f3b21f89911440d6834fb135370708f7";

    #[test]
    fn labels_become_manifests() {
        let text = "images/a.png  1.0                 mono\nimages/b.png  0.3333333333333333  poly\n";
        let cells = parse(text).unwrap();
        assert_eq!(
            csv(&cells),
            "path,label,probability,type\nimages/a.png,defective,1.0,mono\nimages/b.png,functional,0.3333333333333333,poly\n"
        );
        let error = parse("images/a.png 1.0 mono\nimages/b.png often poly\n").unwrap_err();
        assert!(format!("{error:#}").starts_with("labels.csv:2: not `path probability type`"));
    }

    #[test]
    fn a_wheel_is_laid_out() {
        let home = tempfile::tempdir().unwrap();
        let wheel = home.path().join("elpv.whl");
        let labels: String = (0..8)
            .map(|i| format!("images/c{i}.png {} mono\n", if i < 4 { "0.0" } else { "1.0" }))
            .collect();
        let images: Vec<String> = (0..8)
            .map(|i| format!("elpv_dataset/data/images/c{i}.png"))
            .collect();
        let mut files = vec![
            ("elpv_dataset/data/labels.csv", labels.as_str()),
            ("elpv_dataset/utils.py", "code"),
        ];
        files.extend(images.iter().map(|name| (name.as_str(), "pixels")));
        files.push(("elpv_dataset-1.dist-info/licenses/LICENSE.md", "CC BY-NC-SA 4.0"));
        fake_wheel(&wheel, &files);
        let folder = home.path().join("elpv");
        lay_out(&wheel, &folder).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(
            (
                read("train.csv").lines().count(),
                read("test.csv").lines().count()
            ),
            (1 + 6, 1 + 2)
        );
        assert!(
            read("test.csv").contains(",defective,1.0,") && read("test.csv").contains(",functional,0.0,")
        );
        assert!(read("README.md").contains("CC BY-NC-SA 4.0") && folder.join("LICENSE.md").is_file());
        assert!(!folder.join("utils.py").exists());
        fake_wheel(&wheel, &files[..3]);
        let error = lay_out(&wheel, &home.path().join("other")).unwrap_err();
        assert!(format!("{error:#}").contains("labels.csv names images/c1.png"));
    }
}
