//! The pages in a browser: headless Chromium loads each of them, moves the pointer, the slider and the table, and says
//! what it saw. Skipped, and said so, where there is no Chromium.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fcmae_report::{Matrix, Pictures, Run, compare_page, matrix_page, run_page};
use serde_json::Value;

/// Runs before everything else on a page.
const WATCH: &str =
    "<script>const errors = []; addEventListener('error', (e) => errors.push(e.message));</script>";

/// Runs after everything else, and leaves what it saw in the document.
const DRIVE: &str = r#"<script>
const all = (selector) => [...document.querySelectorAll(selector)];
const found = { errors, width: innerWidth, scroll: document.documentElement.scrollWidth };
found.paper = getComputedStyle(document.body).backgroundColor;
found.charts = all("figure.chart").map((figure) => {
    const boxes = [...figure.querySelectorAll("path.line, path.dots")].map((path) => path.getBBox());
    return boxes.some((box) => box.width > 0 || box.height > 0 || figure.querySelector(".dots"));
});
const plot = document.querySelector(".plot");
if (plot) {
    const box = plot.getBoundingClientRect();
    plot.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + 0.6 * box.width, clientY: box.top + 20 }));
    found.tip = plot.querySelector(".tip").innerText;
    found.crosses = all(".cross:not(.hidden)").length;
    plot.dispatchEvent(new PointerEvent("pointerleave"));
    found.left = all(".tip:not(.hidden)").length;
}
const slider = document.querySelector(".slider input");
if (slider) {
    const picture = () => getComputedStyle(document.querySelector(".prediction")).backgroundImage;
    found.pictures = [0, 1, 2].map((value) => {
        slider.value = value;
        slider.dispatchEvent(new Event("input"));
        return [document.querySelector(".slider output").textContent, picture().length > 100, picture()];
    });
}
const heading = document.querySelector(".sortable th:nth-child(4)");
const column = () => all(".sortable tbody tr td:nth-child(1)").map((cell) => cell.textContent);
if (heading) {
    found.sorted = [0, 1].map(() => (heading.click(), column()));
}
const run = document.querySelector(".legend.runs li");
if (run) {
    const drawn = () => all(".plot g").filter((g) => getComputedStyle(g).display !== "none").length;
    found.toggled = [drawn(), (run.click(), drawn()), (run.click(), drawn())];
}
const pre = document.createElement("pre");
pre.id = "found";
pre.textContent = JSON.stringify(found);
document.body.append(pre);
</script>"#;

fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found.into_iter().find(|file| file.is_file())
}

/// Loads the page in a window of this width; `None` without a browser.
fn seen(home: &Path, page: &str, width: u32, is_dark: bool) -> Option<Value> {
    let Some(chromium) = chromium() else {
        eprintln!("skipped: Chromium is not installed (apt-get install chromium)");
        return None;
    };
    let watched = page.replacen("<head>", &format!("<head>{WATCH}"), 1);
    let (body, end) = watched.split_at(watched.rfind("</body>").unwrap());
    let file = home.join("page.html");
    fs::write(&file, format!("{body}{DRIVE}{end}")).unwrap();
    let mut command = Command::new("timeout");
    command.arg("60").arg(chromium).args([
        "--headless=new",
        "--no-sandbox", // its sandbox refuses to run as root, as tests in containers do
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--enable-logging=stderr",
        "--virtual-time-budget=2000",
        "--dump-dom",
    ]);
    command.arg(format!("--user-data-dir={}", home.join("profile").display()));
    command.arg(format!("--window-size={width},900"));
    command.arg(format!(
        "--blink-settings=preferredColorScheme={}",
        if is_dark { 0 } else { 1 }
    ));
    let output = command
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let (dom, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let said: Vec<&str> = log.lines().filter(|line| line.contains(":CONSOLE")).collect();
    assert_eq!(said, [""; 0], "the console stays empty");
    let found = dom
        .split("<pre id=\"found\">")
        .nth(1)
        .unwrap_or_else(|| panic!("nothing was seen: {log}"));
    let json = found.split("</pre>").next().unwrap();
    let json = json
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["errors"].as_array().unwrap().len(), 0, "{found}");
    assert!(
        found["scroll"].as_u64() <= found["width"].as_u64(),
        "nothing sticks out: {found}"
    );
    let charts = found["charts"].as_array().unwrap();
    assert!(
        !charts.is_empty() && charts.iter().all(|chart| chart == true),
        "charts have marks: {found}"
    );
    Some(found)
}

#[test]
fn a_run_in_a_browser() {
    let home = tempfile::tempdir().unwrap();
    let folder = support::run(home.path(), "cells");
    let run = Run::read(&folder).unwrap();
    let page = run_page(&run, &Pictures::of(&folder, run.image_size()));
    let Some(light) = seen(home.path(), &page, 1280, false) else {
        return;
    };
    let tip = light["tip"].as_str().unwrap();
    assert!(tip.starts_with("epoch 2.4") && tip.contains("training"), "{tip}");
    // the pointer marks its place in every chart over epochs; two profiles are over layers
    assert_eq!(light["crosses"], light["charts"].as_array().unwrap().len() - 2);
    assert_eq!(light["left"], 0);
    let pictures = light["pictures"].as_array().unwrap();
    for (picture, epoch) in pictures.iter().zip(["1", "2", "4"]) {
        assert_eq!((&picture[0], &picture[1]), (&epoch.into(), &true.into()));
    }
    assert!(pictures[0][2] != pictures[1][2] && pictures[1][2] != pictures[2][2]);
    let dark = seen(home.path(), &page, 390, true).unwrap();
    assert_ne!(light["paper"], dark["paper"]);
    assert!(dark["width"].as_u64() < Some(600), "a phone: {}", dark["width"]);
}

#[test]
fn runs_and_a_matrix_in_a_browser() {
    let home = tempfile::tempdir().unwrap();
    let runs = ["a", "b"].map(|name| Run::read(&support::run(home.path(), name)).unwrap());
    let Some(compared) = seen(home.path(), &compare_page(&runs), 390, false) else {
        return;
    };
    let drawn = |i: usize| compared["toggled"][i].as_u64().unwrap();
    assert_eq!(
        (drawn(1), drawn(2)),
        (drawn(0) / 2, drawn(0)),
        "a click hides a run, another shows it"
    );
    let matrix: Matrix = serde_json::from_str(support::MATRIX).unwrap();
    let found = seen(home.path(), &matrix_page(&matrix), 1280, true).unwrap();
    assert_eq!(
        found["sorted"],
        serde_json::json!([
            ["high-unet", "low-convnext", "low-unet", "high-convnext"],
            ["low-unet", "low-convnext", "high-unet", "high-convnext"]
        ]),
        "by the held-out loss, up and down; a cell without runs comes last"
    );
}
