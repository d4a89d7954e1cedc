//! QR codes as drawings.

use std::fmt::Write as _;

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around a code, as scanners want them.
const QUIET: usize = 4;

/// The code of a text; nothing where the text is too long for one. It is dark on light whatever the
/// page's colours are: many scanners read no other.
pub(super) fn drawn(text: &str, says: &str) -> Option<Markup> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let inner = code.width();
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(inner).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            let (long, is_dark) = (run.len(), run.first() == Some(&Color::Dark));
            if is_dark {
                // Writing to a String cannot fail.
                let _ = write!(path, "M{} {}h{long}v1h-{long}z", x + QUIET, y + QUIET);
            }
            x += long;
        }
    }
    let side = inner + 2 * QUIET;
    Some(html! {
        svg.qr viewBox={ "0 0 " (side) " " (side) } role="img" aria-label=(says) shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_as_many_dark_modules_as_it_should() {
        let text = "ethereum:0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed@1?value=1";
        let svg = drawn(text, "pays").unwrap().into_string();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let dark = code
            .to_colors()
            .iter()
            .filter(|c| **c == Color::Dark)
            .count();
        let path = svg
            .split(" d=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let runs = path.split('h').skip(1).step_by(2);
        let drawn: usize = runs
            .map(|run| run.split('v').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(drawn, dark);
        let side = code.width() + 8;
        assert!(
            svg.contains(&format!("viewBox=\"0 0 {side} {side}\"")),
            "{svg}"
        );
        assert!(drawn_too_long(), "a text that no code holds has none");
    }

    fn drawn_too_long() -> bool {
        drawn(&"x".repeat(4_000), "pays").is_none()
    }
}
