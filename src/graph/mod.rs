//! A lab as a picture: machines as boxes, interfaces as ports on them, networks as buses.
//!
//! Pure. [`layout`] decides where everything stands, [`svg`] writes it down.

pub mod layout;
pub mod svg;

use crate::recipe::Lab;

/// The picture of a lab as an SVG document.
pub fn draw(lab: &Lab) -> String {
    svg::write(&layout::arrange(lab))
}

#[cfg(test)]
mod tests;
