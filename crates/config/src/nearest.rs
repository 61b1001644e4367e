//! The name that was probably meant.

/// Names less alike than this (Jaro–Winkler, 1 is equal) are not suggested.
const ALIKE: f64 = 0.83;

/// The candidate most like `name`, if any is alike enough to have been meant. Case, and `-` for `_`, do not
/// count.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = normalised(name);
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &normalised(candidate)), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn normalised(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [&str; 12] = [
        "optimizer",
        "lr",
        "blr",
        "weight_decay",
        "warmup_epochs",
        "epochs",
        "batch_size",
        "mask_ratio",
        "min_lr",
        "image_size",
        "norm_pix_loss",
        "seed",
    ];

    #[test]
    fn slips_of_the_pen_are_mended() {
        for (typed, meant) in [
            ("optimiser", "optimizer"),
            ("weightdecay", "weight_decay"),
            ("weight-decay", "weight_decay"),
            ("Epochs", "epochs"),
            ("epoch", "epochs"),
            ("warmup", "warmup_epochs"),
            ("batchsize", "batch_size"),
            ("mask_ration", "mask_ratio"),
            ("img_size", "image_size"),
            ("norm_pix", "norm_pix_loss"),
            ("sead", "seed"),
            ("lrr", "lr"),
        ] {
            assert_eq!(nearest(typed, KEYS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn strange_names_get_no_suggestion() {
        for typed in ["momentum", "colour", "x", "", "gpu", "dropout"] {
            assert_eq!(nearest(typed, KEYS), None, "{typed}");
        }
    }
}
