//! `fcmae plan`: numbers of a run that is not carried out, and refusals before it is.

use fcmae_tests::Place;

#[test]
fn a_run_is_measured_and_its_folder_is_left_alone() {
    let place = Place::with_bars();
    for (verb, config, parameters) in [
        ("pretrain", "tiny.toml", 4000.0),
        ("finetune", "bars.toml", 2000.0),
    ] {
        let before = place.snapshot();
        let plan = place
            .run(&["plan", config, "--steps", "4", "--json"])
            .ended(0)
            .json();
        assert_eq!(place.snapshot(), before, "nothing is written");
        assert_eq!(plan["verb"], verb);
        let number = |key: &str| plan[key].as_f64().unwrap_or_else(|| panic!("{key}: {plan}"));
        let (epochs, steps) = if verb == "pretrain" {
            (3.0, 15.0)
        } else {
            (20.0, 120.0)
        };
        assert_eq!((number("epochs"), number("steps")), (epochs, steps));
        assert_eq!((number("accumulate"), number("checkpoints")), (1.0, 4.0));
        let (rate, step) = (number("images_per_second"), number("step_seconds"));
        assert!((rate * step - number("batch_size")).abs() < 1e-6, "{plan}");
        assert!((number("seconds") - steps * step).abs() < 1e-6, "{plan}");
        assert!((0.0..1.0).contains(&number("data_wait")), "{plan}");
        assert!(
            number("parameters") > parameters && number("free_mib") > 0.0,
            "{plan}"
        );
        assert!(
            (50.0..number("memory_mib")).contains(&number("peak_mib")),
            "{plan}"
        );
    }
}

#[test]
fn a_table_for_people() {
    let text = Place::new()
        .run(&["plan", "tiny.toml", "--steps", "1"])
        .ended(0)
        .stdout;
    for row in ["run  ", "images/s", "peak memory", "time", "checkpoints"] {
        assert!(text.lines().any(|line| line.starts_with(row)), "{row}: {text}");
    }
    assert!(
        text.contains("pretrain into runs/tiny") && text.contains("15 in 3 epochs"),
        "{text}"
    );
}
