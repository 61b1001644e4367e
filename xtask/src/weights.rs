//! `weights list | fetch`: the weights that the authors of ConvNeXt V2 released.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::download::sha256;
use crate::paths;
use crate::process::BadInput;
use crate::resume::{Patience, download};
use crate::staging::{Lock, remove};

/// What to do with released weights.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the released files: size, published accuracy, whether they are here
    List,
    /// Download a file, unless it is here; the same command continues a download that was stopped
    Fetch {
        /// Name of the file, as `list` shows it
        name: String,
        /// I accept the licence of the weights, CC-BY-NC 4.0: name the authors, no commercial use
        #[arg(long)]
        accept_license: bool,
        /// Take the file from here instead: a URL or a folder, with or without `pt_only`, `im1k`, `im22k` in it
        #[arg(long, value_name = "URL|FOLDER")]
        mirror: Option<String>,
    },
}

const LICENCE: &str =
    "CC-BY-NC 4.0 (https://creativecommons.org/licenses/by-nc/4.0/): name the authors, no commercial use";
/// Fact sheet §2.10.
const SOURCE: &str = "https://dl.fbaipublicfiles.com/convnext/convnextv2";

/// A size of the family: name, parameters of the encoder and of the classifier with 1000 classes (fact sheet §1.1).
struct Size(&'static str, u64, u64);

const SIZES: [Size; 8] = [
    Size("atto", 3_386_760, 3_708_400),
    Size("femto", 4_847_472, 5_233_240),
    Size("pico", 8_552_256, 9_066_280),
    Size("nano", 14_981_520, 15_623_800),
    Size("tiny", 27_864_960, 28_635_496),
    Size("base", 87_690_752, 88_717_800),
    Size("large", 196_416_768, 197_956_840),
    Size("huge", 657_467_008, 660_289_640),
];
/// Published top-1 of FCMAE, fine-tuned on ImageNet-1K (fact sheet §4.1), in the order of the sizes.
const TOP_1: [&str; 8] = ["76.7", "78.5", "80.3", "81.9", "83.0", "84.9", "85.8", "86.3"];
/// Size, side in px and published top-1 of ImageNet-22K and then 1K (fact sheet §4.2).
const IN_22K: [(usize, u32, &str); 10] = [
    (3, 224, "82.1"),
    (3, 384, "83.4"),
    (4, 224, "83.9"),
    (4, 384, "85.1"),
    (5, 224, "86.8"),
    (5, 384, "87.7"),
    (6, 224, "87.3"),
    (6, 384, "88.2"),
    (7, 384, "88.7"),
    (7, 512, "88.9"),
];

/// A released file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Release {
    /// As `atto-fcmae`, `tiny-1k`, `base-22k-384`.
    name: String,
    /// Folder at the source.
    folder: &'static str,
    file: String,
    parameters: u64,
    what: String,
}

fn releases() -> Vec<Release> {
    let pre_trained = SIZES.iter().map(|Size(size, encoder, _)| Release {
        name: format!("{size}-fcmae"),
        folder: "pt_only",
        file: format!("convnextv2_{size}_1k_224_fcmae.pt"),
        parameters: *encoder,
        what: "pre-trained by FCMAE on ImageNet-1K: the encoder alone".to_owned(),
    });
    let fine_tuned = SIZES
        .iter()
        .zip(TOP_1)
        .map(|(Size(size, _, all), top_1)| Release {
            name: format!("{size}-1k"),
            folder: "im1k",
            file: format!("convnextv2_{size}_1k_224_ema.pt"),
            parameters: *all,
            what: format!("fine-tuned on ImageNet-1K at 224 px, top-1 {top_1} %"),
        });
    let large_set = IN_22K.iter().map(|&(index, side, top_1)| {
        let Size(size, _, all) = SIZES[index];
        Release {
            name: format!("{size}-22k-{side}"),
            folder: "im22k",
            file: format!("convnextv2_{size}_22k_{side}_ema.pt"),
            parameters: all,
            what: format!("ImageNet-22K, then 1K at {side} px, top-1 {top_1} %"),
        }
    });
    pre_trained.chain(fine_tuned).chain(large_set).collect()
}

/// Does what the command line says.
pub(crate) fn run(args: &Args) -> Result<()> {
    let home = paths::cache()?.join("weights");
    match &args.verb {
        Verb::List => list(&home),
        Verb::Fetch {
            name,
            accept_license,
            mirror,
        } => {
            let release = find(name)?;
            let file = fetch(
                &release,
                &home,
                *accept_license,
                mirror.as_deref(),
                Patience::default(),
            )?;
            println!("{}", file.display());
            Ok(())
        }
    }
}

fn list(home: &Path) -> Result<()> {
    let mut text = format!(
        "licence  {LICENCE}\nsource   {SOURCE}\nfolder   {}\n",
        home.display()
    );
    for Release {
        name,
        file,
        parameters,
        what,
        ..
    } in releases()
    {
        let state = if home.join(file).is_file() {
            "present"
        } else {
            "absent"
        };
        let (millions, size) = (parameters as f64 / 1e6, paths::human(4 * parameters));
        text += &format!("{name:14} {state:8} {millions:>6.1} M parameters, about {size:>6}  {what}\n");
    }
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()), // `| head`
        result => Ok(result?),
    }
}

fn find(name: &str) -> Result<Release> {
    let all = releases();
    all.iter()
        .find(|release| release.name == name)
        .cloned()
        .ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|release| release.name.as_str()).collect();
            BadInput(format!(
                "no released weights are called `{name}`; there are: {}",
                names.join(", ")
            ))
            .into()
        })
}

/// The file, downloaded or found in the cache; its hash is recorded when it first comes and checked from then on.
fn fetch(
    release: &Release,
    home: &Path,
    accept_license: bool,
    mirror: Option<&str>,
    patience: Patience,
) -> Result<PathBuf> {
    if !accept_license {
        let name = &release.name;
        let message =
            format!("the weights `{name}` are under {LICENCE}; if you accept that, give --accept-license");
        return Err(BadInput(message).into());
    }
    let _lock = Lock::take(home)?;
    let file = home.join(&release.file);
    let record = home.join(format!("{}.sha256", release.file));
    let known = read_record(&record)?;
    if file.is_file() {
        if known.as_ref() == Some(&sha256(&file)?) {
            eprintln!("{}: is there, its SHA-256 as recorded", release.file);
            return Ok(file);
        }
        eprintln!(
            "{}: is there, but not as recorded; fetching it again",
            release.file
        );
        remove(&file)?;
    }
    let need = 4 * release.parameters;
    if paths::free_bytes(home).is_some_and(|free| free < need) {
        let place = home.display();
        bail!(
            "{place}: less than {} free; make room, or set FCMAE_CACHE to another disk",
            paths::human(need)
        );
    }
    eprintln!("{}: {}; licence: {LICENCE}", release.name, release.what);
    // it gets its name when all is well
    let fresh = home.join(format!(".{}.fresh", release.file));
    bring(release, mirror, &fresh, patience)?;
    let found = check(release, &fresh, known.as_deref())?;
    if known.is_none() {
        fs::write(&record, format!("{found}  {}\n", release.file))
            .with_context(|| format!("{}: cannot be written", record.display()))?;
    }
    fs::rename(&fresh, &file).with_context(|| format!("{}: cannot be put in place", file.display()))?;
    eprintln!("{}: SHA-256 {found}", release.file);
    Ok(file)
}

/// Copies or downloads.
fn bring(release: &Release, mirror: Option<&str>, fresh: &Path, patience: Patience) -> Result<()> {
    let base = mirror.unwrap_or(SOURCE).trim_end_matches('/');
    let Release { folder, file, .. } = release;
    if base.starts_with("http://") || base.starts_with("https://") {
        return download(&format!("{base}/{folder}/{file}"), fresh, patience);
    }
    let places = [
        Path::new(base).join(folder).join(file),
        Path::new(base).join(file),
    ];
    let Some(found) = places.iter().find(|place| place.is_file()) else {
        let message = format!(
            "--mirror {base}: there is neither {} nor {}",
            places[0].display(),
            places[1].display()
        );
        return Err(BadInput(message).into());
    };
    fs::copy(found, fresh).with_context(|| format!("{}: cannot be copied", found.display()))?;
    Ok(())
}

/// Refuses what is no PyTorch file (a proxy's page, say), or not the file that came first. Returns the hash.
fn check(release: &Release, fresh: &Path, known: Option<&str>) -> Result<String> {
    let start = || -> io::Result<Vec<u8>> {
        let mut start = Vec::new();
        fs::File::open(fresh)?.take(2).read_to_end(&mut start)?;
        Ok(start)
    };
    let start = start().with_context(|| format!("{}: cannot be read", fresh.display()))?;
    if start != *b"PK" && start.first() != Some(&0x80) {
        remove(fresh)?;
        bail!(
            "{}: what came is no PyTorch file; does the address lead to a web page?",
            release.file
        );
    }
    let found = sha256(fresh)?;
    if known.is_some_and(|known| known != found) {
        remove(fresh)?;
        bail!(
            "{}: SHA-256 is {found}, and {} when it first came; it is not used (remove {0}.sha256 to accept it)",
            release.file,
            known.unwrap_or_default()
        );
    }
    Ok(found)
}

/// The hash of a record in the format of `sha256sum`.
fn read_record(record: &Path) -> Result<Option<String>> {
    match fs::read_to_string(record) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.with_context(|| format!("{}: cannot be read", record.display()))?;
            let hash = text.split_whitespace().next().filter(|hash| hash.len() == 64);
            Ok(Some(
                hash.with_context(|| format!("{}: no SHA-256; remove it", record.display()))?
                    .to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resume::tests::{Answer, QUICK, Server};

    fn bytes() -> Vec<u8> {
        [b"PK\x03\x04".to_vec(), crate::resume::tests::content()].concat()
    }

    #[test]
    fn the_released_files_by_name() {
        let all = releases();
        assert_eq!(all.len(), 26);
        let release = find("huge-22k-512").unwrap();
        assert_eq!(
            (release.folder, &release.file[..]),
            ("im22k", "convnextv2_huge_22k_512_ema.pt")
        );
        assert_eq!(
            find("atto-fcmae").unwrap().file,
            "convnextv2_atto_1k_224_fcmae.pt"
        );
        assert_eq!(find("pico-1k").unwrap().file, "convnextv2_pico_1k_224_ema.pt");
        let error = find("atto").unwrap_err();
        assert!(error.is::<BadInput>() && error.to_string().contains("atto-fcmae, femto-fcmae"));
    }

    #[test]
    fn the_licence_is_to_be_accepted_first() {
        let home = tempfile::tempdir().unwrap();
        let error = fetch(&find("atto-fcmae").unwrap(), home.path(), false, None, QUICK).unwrap_err();
        assert!(error.is::<BadInput>());
        let text = error.to_string();
        assert!(
            text.contains("CC-BY-NC 4.0") && text.contains("--accept-license"),
            "{text}"
        );
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_comes_once_and_is_checked_from_then_on() {
        let home = tempfile::tempdir().unwrap();
        let release = find("atto-fcmae").unwrap();
        let server = Server::start(bytes(), "\"v1\"", vec![Answer::Cut(70_000), Answer::Serve]);
        let get = |server: &Server| fetch(&release, home.path(), true, Some(&server.url), QUICK);
        let file = get(&server).unwrap();
        assert_eq!(fs::read(&file).unwrap(), bytes());
        let path = "/pt_only/convnextv2_atto_1k_224_fcmae.pt";
        assert!(
            server
                .requests
                .lock()
                .unwrap()
                .iter()
                .all(|(asked, _)| asked == path)
        );
        get(&server).unwrap();
        assert_eq!(server.ranges().len(), 2, "what is there is not asked for");

        // damage is found by the record and mended
        fs::write(&file, "PK damaged").unwrap();
        get(&server).unwrap();
        assert_eq!(fs::read(&file).unwrap(), bytes());

        // another file of that name is not taken
        fs::remove_file(&file).unwrap();
        let other = Server::start([bytes(), b"!".to_vec()].concat(), "\"v2\"", vec![Answer::Serve]);
        let error = format!("{:#}", get(&other).unwrap_err());
        assert!(error.contains("when it first came; it is not used"), "{error}");
        assert!(!file.exists());
    }

    #[test]
    fn a_web_page_is_no_weights() {
        let home = tempfile::tempdir().unwrap();
        let release = find("atto-1k").unwrap();
        let server = Server::start(b"<html>log in</html>".to_vec(), "\"v1\"", vec![Answer::Serve]);
        let error = fetch(&release, home.path(), true, Some(&server.url), QUICK).unwrap_err();
        assert!(error.to_string().contains("is no PyTorch file"), "{error}");
        assert!(!home.path().join(&release.file).exists());
        assert!(!home.path().join(format!("{}.sha256", release.file)).exists());
    }

    #[test]
    fn a_folder_can_be_the_mirror() {
        let (home, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let release = find("tiny-22k-384").unwrap();
        let path = mirror.path().to_str().unwrap();
        let error = fetch(&release, home.path(), true, Some(path), QUICK).unwrap_err();
        assert!(
            error.is::<BadInput>() && error.to_string().contains("there is neither"),
            "{error}"
        );
        fs::write(mirror.path().join(&release.file), bytes()).unwrap();
        let file = fetch(&release, home.path(), true, Some(path), QUICK).unwrap();
        assert_eq!(fs::read(file).unwrap(), bytes());
    }
}
