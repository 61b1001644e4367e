//! Buffers that cannot be measured.

/// Scores and labels that do not belong together, or cannot be ranked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeasureError {
    /// There is nothing to measure.
    #[error("there are no scores to measure")]
    Empty,
    /// A buffer that is not whole rows.
    #[error("{values} scores are not rows of {classes} classes")]
    Shape {
        /// Numbers in the buffer.
        values: usize,
        /// Numbers in a row.
        classes: usize,
    },
    /// A number that has no place in an order.
    #[error("the scores of image {image} are not numbers (NaN); the weights or their precision are at fault")]
    NotANumber {
        /// Row, from 0.
        image: usize,
    },
    /// Not one label (or row of labels) per image.
    #[error("{labels} labels for {images} images")]
    Labels {
        /// Labels given.
        labels: usize,
        /// Rows of scores.
        images: usize,
    },
    /// A label beyond the classes.
    #[error("the label of image {image} is class {label}, but there are scores for {classes} classes")]
    Label {
        /// Row, from 0.
        image: usize,
        /// Its label.
        label: u32,
        /// Classes that there are.
        classes: usize,
    },
    /// Not one name per class.
    #[error("{names} class names for {classes} classes")]
    Names {
        /// Names given.
        names: usize,
        /// Classes that there are.
        classes: usize,
    },
}
