//! "Did you mean …?"

use strsim::damerau_levenshtein;

/// The candidate that the word most probably stands for, if one is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |s: &str| -> String {
        s.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).take(80).collect()
    };
    let wanted = plain(word);
    if wanted.is_empty() {
        return None;
    }
    let distance = |candidate: &&'a str| {
        let known = plain(candidate);
        let distance = damerau_levenshtein(&wanted, &known);
        let most = (wanted.chars().count().max(known.chars().count()) / 3).max(1);
        // One letter of two is no likeness.
        let near = distance == 0 || (distance <= most && distance < known.chars().count());
        near.then_some(distance)
    };
    let scored = candidates.into_iter().filter_map(|c| distance(&c).map(|d| (d, c)));
    scored.min_by_key(|(d, _)| *d).map(|(_, c)| c)
}

/// A list of words for a label, cut where it gets long.
pub(crate) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let shown = words.get(..MOST.min(words.len())).unwrap_or_default().join(", ");
    if words.len() > MOST { format!("{shown}, …") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_nearest() {
        let keys = ["url", "tables", "exclude_tables", "dead_letter", "slot"];
        for (word, meant) in [
            ("tabels", Some("tables")),
            ("table", Some("tables")),
            ("deadLetter", Some("dead_letter")),
            ("dead-letter", Some("dead_letter")),
            ("ulr", Some("url")),
            ("URL", Some("url")),
            ("slto", Some("slot")),
            ("topic", None),
            ("x", None),
            ("", None),
            ("---", None),
        ] {
            assert_eq!(nearest(word, keys), meant, "{word}");
        }
    }
}
