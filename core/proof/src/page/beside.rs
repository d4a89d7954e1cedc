//! What stands right beside a figure: few characters may, as whatever else touches it can have it read
//! as another one.
//!
//! An ordinary space ends a figure. A narrow one, or one at which no line is broken, stands between the
//! digits of one number in many languages: behind it a word may follow, and neither a digit nor a sign.
//! What nobody sees ends nothing.

/// What touches a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// What goes on with it.
    Part,
    /// What nobody sees.
    Hidden(char),
}

/// What a reference is taken for that is not known: it may be a digit.
pub(super) const UNKNOWN: char = '\u{fffd}';
/// What ends a figure, on both of its sides.
const MARKS: &str = "()[]{}\"“”„«»‹›!?¡¿=、。「」『』【】〈〉《》（）：；！？";
/// What ends it before, only.
const MARKS_BEFORE: &str = ":‘$€£¥₩₹";
/// What ends it behind, where no number goes on behind that.
const POINTS: &str = ".,:;'’．，";
/// Letters of scripts without spaces between words that are numbers, or look like a sign.
const NUMERALS: &str = "〇零一二三四五六七八九十百千万萬億亿兆点點半ー壹贰叁肆伍陆柒捌玖拾佰仟";
/// More narrow spaces in a row than anybody writes.
const MAX_NARROW: usize = 4;

/// Whether what ends so can stand before a figure.
pub(super) fn before(text: &str) -> Result<(), Touch> {
    let mut chars = text.chars().rev().peekable();
    let narrow = narrow(&mut chars)?;
    match chars.next() {
        None => Ok(()),
        Some(c) if MARKS_BEFORE.contains(c) => Ok(()),
        Some(c) => stands(c, narrow),
    }
}

/// Whether what begins so can stand behind a figure, with its unit or without.
pub(super) fn behind(text: &str, unit: Option<&str>) -> Result<(), Touch> {
    let mut chars = text.chars().peekable();
    let spaced = narrow(&mut chars)?;
    let rest: String = chars.collect();
    let (rest, spaced) = match unit.and_then(|unit| rest.strip_prefix(unit)) {
        Some(rest) => (rest, false),
        None => (rest.as_str(), spaced),
    };
    let mut chars = rest.chars().peekable();
    let spaced = narrow(&mut chars)? || spaced;
    let Some(first) = chars.next() else {
        return Ok(());
    };
    if POINTS.contains(first) {
        let spaced = narrow(&mut chars)?;
        return chars.next().map_or(Ok(()), |next| stands(next, spaced));
    }
    stands(first, spaced)?;
    // As in `1 e3` and `1 x 10`.
    let is_factor = "eExX".contains(first);
    match chars.next() {
        Some(next) if is_factor && !next.is_alphabetic() => Err(Touch::Part),
        None if is_factor => Err(Touch::Part),
        _ => Ok(()),
    }
}

/// Takes narrow spaces off, and says whether there were any.
fn narrow(chars: &mut std::iter::Peekable<impl Iterator<Item = char>>) -> Result<bool, Touch> {
    let mut count = 0;
    while chars.next_if(|c| is_narrow(*c)).is_some() {
        count += 1;
    }
    if count > MAX_NARROW {
        return Err(Touch::Part);
    }
    Ok(count > 0)
}

/// Whether a character can stand at a figure, or with a narrow space between.
fn stands(c: char, spaced: bool) -> Result<(), Touch> {
    if ends(c) || MARKS.contains(c) || (is_of_cjk(c) && !NUMERALS.contains(c)) {
        return Ok(());
    }
    if is_hidden(c) {
        return Err(Touch::Hidden(c));
    }
    let is_word = c.is_alphabetic() && c < '\u{2e80}' && !c.is_numeric();
    if spaced && (is_word || "%‰°".contains(c)) {
        return Ok(());
    }
    Err(Touch::Part)
}

/// Whether this is a space that ends a figure.
pub(super) fn ends(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '\u{2000}'..='\u{2003}' | '\u{3000}')
}

fn is_narrow(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{2004}'..='\u{200a}' | '\u{202f}' | '\u{205f}'
    )
}

/// Letters that touch numbers in any case, as there are no spaces between words.
fn is_of_cjk(c: char) -> bool {
    matches!(c,
        '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

/// Whether nobody sees it: characters of format, those that may be left out in drawing, and ends of
/// lines that browsers do not break at.
fn is_hidden(c: char) -> bool {
    turns(c)
        || matches!(c,
            '\u{85}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether it turns around in which direction text runs.
pub(super) fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The first character of a text that turns more around than this text.
pub(super) fn turned(text: &str) -> Option<char> {
    let mut open = None;
    let mut depth = 0_usize;
    for c in text.chars().filter(|c| turns(*c)) {
        match c {
            '\u{2066}'..='\u{2068}' => {
                open = Some(c);
                depth += 1;
            }
            '\u{2069}' if depth > 0 => depth -= 1,
            _ => return Some(c),
        }
    }
    open.filter(|_| depth > 0)
}
