//! The verbs that use weights: `predict`, `evaluate`, `embed`, `probe`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fcmae_checkpoint::read_safetensors;
use fcmae_tests::{Place, Ran};
use serde_json::Value;

/// The smallest size that the golden weights take.
const SMALL: [&str; 4] = ["--set", "data.image_size=32", "--set", "device=cpu"];

fn run(place: &Place, args: &[&str]) -> Ran {
    place.run(&[args, &SMALL[..]].concat())
}

/// One JSON object a line.
fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The predicted class of each picture, by name.
fn predicted(place: &Place) -> BTreeMap<String, String> {
    let all = run(place, &["predict", "model.pth", "images", "--json"]).ended(0);
    let of = |line: &Value| {
        let file = line["file"].as_str().unwrap().to_owned();
        (file, line["top"][0]["class"].as_str().unwrap().to_owned())
    };
    lines(&all).iter().map(of).collect()
}

#[test]
fn predictions_do_not_depend_on_how_pictures_are_given() {
    let place = Place::new().and_classifier();
    let folder = run(&place, &["predict", "model.pth", "images", "--json"]).ended(0);
    assert_eq!(folder.stdout.lines().count(), 24);
    let list: String = (0..24).map(|i| format!("images/{i:02}.png\n")).collect();
    let args = [
        &["predict", "model.pth", "-", "--json", "--set", "batch_size=7"],
        &SMALL[..],
    ]
    .concat();
    let listed = place.run_reading(&list, &args).ended(0);
    for (a, b) in lines(&folder).iter().zip(lines(&listed)) {
        assert_eq!(
            (&a["file"], &a["top"][0]["class"]),
            (&b["file"], &b["top"][0]["class"])
        );
        let logits = |v: &Value| {
            v["logits"]
                .as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap())
                .collect::<Vec<_>>()
        };
        let (x, y) = (logits(a), logits(&b));
        assert!(x.iter().zip(&y).all(|(x, y)| (x - y).abs() < 1e-4), "{x:?} {y:?}");
        let sum: f64 = a["top"]
            .as_array()
            .unwrap()
            .iter()
            .map(|top| top["probability"].as_f64().unwrap())
            .sum();
        assert!(sum <= 1.0 + 1e-9);
    }
}

#[test]
fn tables_are_for_people_and_spreadsheets() {
    let place = Place::new().and_classifier();
    let text = run(&place, &["predict", "model.pth", "images/00.png", "--top", "2"]).ended(0);
    assert!(
        text.stdout.starts_with("images/00.png: ") && text.stdout.matches(',').count() == 1,
        "{text:?}"
    );
    let csv = run(
        &place,
        &["predict", "model.pth", "images", "--format", "csv", "--top", "1"],
    )
    .ended(0);
    let rows: Vec<_> = csv.stdout.lines().collect();
    assert!(
        rows[0].starts_with("path,class_1,probability_1,logit_0,logit_1"),
        "{}",
        rows[0]
    );
    assert_eq!(rows.len(), 25);
    assert!(
        rows.iter()
            .all(|row| row.matches(',').count() == rows[0].matches(',').count())
    );
}

#[test]
fn an_unreadable_picture_is_named_and_the_others_are_done() {
    let place = Place::new().and_classifier();
    place.truncate("images/07.png", 20);
    let ran = run(&place, &["predict", "model.pth", "images", "--json"]).ended(1);
    let all = lines(&ran);
    assert_eq!(all.len(), 24);
    assert!(all[7]["error"].as_str().unwrap().contains("07.png"), "{}", all[7]);
    assert!(
        all.iter()
            .enumerate()
            .all(|(i, line)| (i == 7) == line.get("logits").is_none())
    );
    assert!(
        ran.stderr.contains("07.png") && ran.stderr.contains("1 of 24 pictures"),
        "{}",
        ran.stderr
    );
    let missing = run(&place, &["predict", "model.pth", "images/00.png", "nowhere.png"]).ended(1);
    assert!(
        missing.stdout.starts_with("images/00.png: ") && missing.stderr.contains("nowhere.png"),
        "{missing:?}"
    );
}

#[test]
fn every_verb_goes_on_without_an_unreadable_picture_and_says_so() {
    let place = Place::new().and_classifier();
    for split in ["train", "test"] {
        for i in 0..20 {
            let class = if i % 2 == 0 { "even" } else { "odd" };
            let picture = place.read(&format!("images/{i:02}.png"));
            // what is in the data decides nothing here; the file is another one in each part
            place.write(&format!("parts/{split}/{class}/{i:02}.png"), picture);
        }
        place.truncate(&format!("parts/{split}/odd/07.png"), 20);
    }
    let told = |ran: &Ran, count: usize| {
        let count = format!("{count} picture(s) could not be read and were left out");
        ran.stderr
            .contains("unreadable: parts/test/odd/07.png: cannot decode: ")
            && ran.stderr.contains(&count)
    };
    let embedded = run(&place, &["embed", "model.pth", "parts/test", "--json"]).ended(1);
    assert!(told(&embedded, 1), "{embedded:?}");
    assert_eq!(embedded.json()["features"]["features"][0], 19);

    let args = [
        "probe",
        "model.pth",
        "--data",
        "parts",
        "--json",
        "-o",
        "probe",
        "--set",
        "linear.epochs=2",
    ];
    for cached in [false, true] {
        let probed = run(&place, &args).ended(1);
        assert!(told(&probed, 2), "{probed:?}");
        let report = &probed.json()["report"];
        assert_eq!(
            (&report["train_images"], &report["cached"]),
            (&19.into(), &cached.into())
        );
        assert_eq!(report["knn"]["test"]["images"], 19);
    }

    let ten: Vec<String> = (0..10).map(|class| format!("\"{class}\"")).collect();
    let names = format!("labels.classes=[{}]", ten.join(","));
    fs::rename(place.path("parts/test/even"), place.path("parts/test/0")).unwrap();
    fs::rename(place.path("parts/test/odd"), place.path("parts/test/1")).unwrap();
    let args = [
        "evaluate",
        "model.pth",
        "--data",
        "parts",
        "--set",
        &names,
        "--json",
    ];
    let evaluated = run(&place, &args).ended(1);
    assert_eq!(evaluated.json()["report"]["single_label"]["images"], 19);
    assert_eq!(evaluated.json()["split"], "test");
    assert!(
        evaluated.stderr.contains("unreadable: parts/test/1/07.png: "),
        "{evaluated:?}"
    );
}

/// A folder's parts mean nothing to who wants to know of pictures.
#[test]
fn all_pictures_below_a_folder_are_predicted() {
    let place = Place::new().and_classifier();
    for (file, to) in [
        ("00", "mixed/00"),
        ("01", "mixed/train/01"),
        ("02", "mixed/val/x/02"),
    ] {
        place.write(&format!("{to}.png"), place.read(&format!("images/{file}.png")));
    }
    let all = run(&place, &["predict", "model.pth", "mixed", "--json"]).ended(0);
    assert_eq!(lines(&all).len(), 3, "{all:?}");
    let embedded = run(
        &place,
        &["embed", "model.pth", "mixed", "-o", "all.npy", "--json"],
    )
    .ended(0);
    assert_eq!(embedded.json()["images"], 3, "{embedded:?}");
}

#[test]
fn evaluation_counts_what_was_predicted() {
    let place = Place::new().and_classifier();
    let predicted = predicted(&place);
    let classes = lines(&run(&place, &["predict", "model.pth", "images/00.png", "--json"]))[0]["logits"]
        .as_array()
        .unwrap()
        .len();
    // as predicted, but for six pictures
    let other = |class: &str| (class.parse::<usize>().unwrap() + 1) % classes;
    let row = |(i, (file, class)): (usize, (&String, &String))| {
        let label = if i % 4 == 0 {
            other(class).to_string()
        } else {
            class.clone()
        };
        format!("{file},{label}\n")
    };
    let rows: String = predicted.iter().enumerate().map(row).collect();
    place.write("labels.csv", format!("path,label\n{rows}"));
    let names: Vec<String> = (0..classes).map(|class| format!("\"{class}\"")).collect();
    let names = format!("labels.classes=[{}]", names.join(","));
    let args = [
        "evaluate",
        "model.pth",
        "--data",
        "labels.csv",
        "--set",
        &names,
        "--json",
    ];
    let report = run(&place, &args).ended(0).json();
    let measures = &report["report"]["single_label"];
    assert_eq!(measures["top1"]["value"], 0.75);
    assert!(report["split"].is_null(), "a manifest has no parts");
    assert_eq!(measures["images"], 24);
    let interval = &measures["top1"]["interval"];
    assert!(
        interval[0].as_f64().unwrap() < 0.75 && interval[1].as_f64().unwrap() > 0.75,
        "{interval}"
    );
    let counts = measures["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap());
    assert_eq!(counts.map(|count| count.as_u64().unwrap()).sum::<u64>(), 24);
    assert_eq!(place.list("evaluation"), ["confusion.png", "report.json"]);
    let written: Value = serde_json::from_str(&place.text("evaluation/report.json")).unwrap();
    assert_eq!(written["measured"]["weights"], "model.pth");
    assert_eq!(written["measured"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(written["measured"]["settings"]["data"]["image_size"][0], 32);
    assert_eq!(written["report"], report["report"]);
    let picture = image::open(place.path("evaluation/confusion.png")).unwrap();
    assert!(picture.width() > 100);
    let again = run(&place, &args[..6]).ended(0); // the same as a table
    assert!(
        ["top-1", "0.7500", "95 % interval"]
            .iter()
            .all(|words| again.stdout.contains(words)),
        "{}",
        again.stdout
    );
}

#[test]
fn several_labels_a_picture_are_decided_one_by_one() {
    let place = Place::new().and_classifier();
    let all = lines(&run(&place, &["predict", "model.pth", "images", "--json"]).ended(0));
    let logits = |line: &Value| -> Vec<f64> {
        let logits = line["logits"].as_array().unwrap();
        logits.iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let classes = logits(&all[0]).len();
    let columns: Vec<String> = (0..classes).map(|class| format!("c{class}")).collect();
    // the decisions themselves, but for one of the first picture
    let row = |(i, line): (usize, &Value)| {
        let decisions = logits(line).into_iter().enumerate();
        let cells = decisions.map(|(class, z)| u8::from((z > 0.0) != (i == 0 && class == 0)).to_string());
        format!(
            "{},{}\n",
            line["file"].as_str().unwrap(),
            cells.collect::<Vec<_>>().join(",")
        )
    };
    let rows: String = all.iter().enumerate().map(row).collect();
    place.write("several.csv", format!("path,{}\n{rows}", columns.join(",")));
    let set = format!("labels.columns={columns:?}");
    let kind = "labels.kind=multi_label";
    let args = [
        "evaluate",
        "model.pth",
        "--data",
        "several.csv",
        "--set",
        kind,
        "--set",
        &set,
        "--json",
    ];
    let report = run(&place, &args).ended(0).json();
    let measures = &report["report"]["multi_label"];
    assert_eq!(measures["exact_match"]["value"], 23.0 / 24.0);
    let micro = measures["micro_f1"]["value"].as_f64().unwrap();
    assert!(micro > 0.95 && micro < 1.0, "{measures}");
    assert_eq!(measures["per_class"].as_array().unwrap().len(), classes);
    let table = run(&place, &args[..8]).ended(0);
    assert!(
        table.stdout.contains("micro F1") && table.stdout.contains("c0"),
        "{}",
        table.stdout
    );
    assert_eq!(place.list("evaluation"), ["report.json"]); // there is no matrix to draw
    // and a probability is each class's own
    let args = [
        "predict",
        "model.pth",
        "images/00.png",
        "--json",
        "--set",
        kind,
        "--set",
        &set,
    ];
    let line = &lines(&run(&place, &args).ended(0))[0];
    for top in line["top"].as_array().unwrap() {
        let z = logits(line)[top["index"].as_u64().unwrap() as usize];
        assert!((top["probability"].as_f64().unwrap() - 1.0 / (1.0 + (-z).exp())).abs() < 1e-6);
    }
}

#[test]
fn features_are_written_with_their_pictures() {
    let place = Place::new().and_classifier();
    let ran = run(&place, &["embed", "model.pth", "images", "--stages", "--json"])
        .ended(0)
        .json();
    let (tensors, metadata) = read_safetensors(place.path("features.safetensors")).unwrap();
    let files: Vec<String> = serde_json::from_str(&metadata["files"]).unwrap();
    assert_eq!((files.len(), files[3].as_str()), (24, "images/03.png"));
    assert_eq!(
        tensors.keys().collect::<Vec<_>>(),
        ["stage0", "stage1", "stage2", "stage3"]
    );
    assert_eq!(ran["features"]["stage0"][0], 24);
    let _ = run(&place, &["embed", "model.pth", "images", "-o", "pooled.npy"]).ended(0);
    let last = &tensors["stage3"];
    let npy = place.read("pooled.npy");
    assert_eq!(&npy[npy.len() - last.bytes.len()..], last.bytes);
    assert_eq!(
        place
            .list(".")
            .iter()
            .filter(|name| name.starts_with("pooled"))
            .count(),
        2
    );
    let _ = run(
        &place,
        &["embed", "model.pth", "images", "--maps", "-o", "maps.safetensors"],
    )
    .ended(0);
    let (maps, _) = read_safetensors(place.path("maps.safetensors")).unwrap();
    assert_eq!(maps["stage0"].shape[2..], [8, 8]); // 32 px, stride 4
    let (map, pooled) = (
        maps["stage0"].to_f32().unwrap(),
        tensors["stage0"].to_f32().unwrap(),
    );
    for (map, pooled) in map.chunks(64).zip(pooled) {
        assert!((map.iter().sum::<f32>() / 64.0 - pooled).abs() < 1e-4);
    }
}

/// Bright and dark pictures, told apart by features of pre-training.
fn with_run() -> Place {
    let place = Place::new();
    for (split, count) in [("train", 40u32), ("test", 20)] {
        let mut rows = "path,label\n".to_owned();
        for i in 0..count {
            let is_bright = i % 2 == 0;
            let name = format!("cells/{split}-{i:02}.png");
            let base = if is_bright { 150 } else { 60 };
            let picture =
                image::GrayImage::from_fn(36, 36, |x, y| image::Luma([(base + (x * i + 5 * y) % 40) as u8]));
            fs::create_dir_all(place.path("data/two/cells")).unwrap();
            picture.save(place.path(&format!("data/two/{name}"))).unwrap();
            rows += &format!("{name},{}\n", if is_bright { "bright" } else { "dark" });
        }
        place.write(&format!("data/two/{split}.csv"), rows);
    }
    let _ = place
        .run(&["pretrain", "tiny.toml", "--quiet", "--set", "schedule.epochs=1"])
        .ended(0);
    place
}

#[test]
fn a_probe_of_a_run_is_measured_once_and_repeats() {
    let place = with_run();
    // a folder stands for a data set with its parts as sub-folders
    for split in ["train", "test"] {
        for label in ["bright", "dark"] {
            fs::create_dir_all(place.path(&format!("parts/{split}/{label}"))).unwrap();
        }
        for line in place.text(&format!("data/two/{split}.csv")).lines().skip(1) {
            let (name, label) = line.split_once(',').unwrap();
            let to = format!(
                "parts/{split}/{label}/{}",
                Path::new(name).file_name().unwrap().to_str().unwrap()
            );
            fs::copy(place.path(&format!("data/two/{name}")), place.path(&to)).unwrap();
        }
    }
    let args = [
        "probe",
        "runs/tiny",
        "--data",
        "parts",
        "--json",
        "--set",
        "knn.k=[1,3]",
        "--set",
        "linear.lr=[3e-3]",
    ];
    let first = place.run(&args).ended(0).json();
    let report = &first["report"];
    assert_eq!(
        (&report["train_images"], &report["val_images"]),
        (&40.into(), &8.into())
    );
    assert_eq!(report["class_names"], serde_json::json!(["bright", "dark"]));
    assert_eq!(report["knn"]["trials"].as_array().unwrap().len(), 5 * 2); // four stages and all
    for probe in ["linear", "knn"] {
        let top1 = report[probe]["test"]["top1"]["value"].as_f64().unwrap();
        assert!(top1 >= 0.9, "{probe}: {top1}");
    }
    assert_eq!(place.list("runs/tiny/probe").len(), 3); // features of two parts, and the report
    let second = place.run(&args).ended(0).json();
    assert_eq!(
        (&report["cached"], &second["report"]["cached"]),
        (&false.into(), &true.into())
    );
    for probe in ["linear", "knn"] {
        assert_eq!(report[probe], second["report"][probe]);
    }
    // another size is another cache entry
    let other = place
        .run(&[&args[..], &["--set", "data.image_size=40"]].concat())
        .ended(0)
        .json();
    assert_eq!(other["report"]["cached"], false);
    let table = place.run(&args[..4]).ended(0);
    assert!(
        table.stdout.contains("held-out accuracy") && table.stdout.contains("stage 0"),
        "{}",
        table.stdout
    );
}

#[test]
fn a_probe_refuses_what_it_cannot_measure() {
    let place = with_run();
    let refused = |args: &[&str], words: &[&str]| {
        let ran = place.run(args).ended(2);
        let error = ran.stderr.lines().last().unwrap();
        assert!(words.iter().all(|word| error.contains(word)), "{}", ran.stderr);
    };
    refused(
        &["probe", "runs/tiny", "--data", "data/two/train.csv"],
        &["test_split", "two parts"],
    );
    refused(&["probe", "runs/tiny", "--data", "images"], &["label"]);
    refused(&["predict", "runs/tiny", "images"], &["no head", "fcmae probe"]);
    refused(
        &["evaluate", "runs/tiny", "--data", "data/two/test.csv"],
        &["no head"],
    );
    let column = ["--set", "labels.columns=[\"labl\"]"];
    refused(
        &[
            &["probe", "runs/tiny", "--data", "data/two/train.csv"],
            &column[..],
        ]
        .concat(),
        &["labl", "label"],
    );
}
