//! Line charts as SVG: files that stand alone, and parts of an HTML page.
//!
//! A [`Chart`] is plain data: [`Series`] of points over two [`Axis`]es. A [`Figure`] puts charts in a grid under one title
//! and over one legend. Both are drawn by the same marks in the same colours, on light ground and on dark:
//!
//! | picture | for |
//! |---|---|
//! | [`Figure::svg`], [`Chart::svg`] | a file: words as text inside, no script; values where the pointer rests on a dot |
//! | [`Chart::html`] with [`page_style`] and [`PAGE_SCRIPT`] | a page: as wide as there is room, values under the pointer |
//!
//! Axes find round marks for themselves, can be logarithmic, in per cent, of whole numbers or of named places. What is
//! not finite is a gap. Long series are drawn by fewer points, none of their peaks lost. Nothing is fetched, and all text
//! goes through [`maud`], which escapes it.
//!
//! It knows neither runs nor networks, and draws nothing but lines and dots.
//!
//! ```
//! use fcmae_plot::{Axis, Chart, Series};
//!
//! let loss = Series::line("held out", vec![[1.0, 0.64], [2.0, 0.51], [3.0, f64::NAN], [4.0, 0.33]]);
//! let svg = Chart::new("Loss", Axis::whole("epoch"), Axis::default(), vec![loss]).svg();
//! assert!(svg.starts_with("<svg") && svg.contains(">held out<"));
//! assert_eq!(svg.matches("<title>").count(), 3); // the gap at 3 is a gap in the line
//! ```

mod chart;
mod figure;
mod frame;
mod marks;
mod number;
mod page;
mod thin;
mod ticks;

pub use chart::{Axis, Chart, Point, Scale, Series, Style};
pub use figure::Figure;
pub use marks::color_class;
pub use number::{Unit, shown};
pub use page::{PAGE_SCRIPT, page_style};
