//! Redis' glob: `*`, `?`, `[abc]`, `[^abc]`, `[a-z]`, and `\` before a character that means itself. By bytes, as there.
//!
//! Never goes back further than to the last `*`, so that no pattern costs more than its length times the text's.

use std::iter;

/// Whether the whole text matches.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern_at, mut text_at) = (0, 0);
    // Where to go on when what follows the last star doesn't fit: the star takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at += 1;
            retry = Some((pattern_at, text_at));
        } else if let Some(length) = one_matches(&pattern[pattern_at..], text[text_at]) {
            pattern_at += length;
            text_at += 1;
        } else if let Some((after_star, from)) = retry {
            retry = Some((after_star, from + 1));
            (pattern_at, text_at) = (after_star, from + 1);
        } else {
            return false;
        }
    }
    pattern[pattern_at..].iter().all(|byte| *byte == b'*')
}

/// The pattern's elements: the byte that one stands for, or `None` if it may stand for another.
pub(super) fn literals(mut pattern: &[u8]) -> impl Iterator<Item = Option<u8>> {
    iter::from_fn(move || {
        let (literal, length) = match pattern {
            [] => return None,
            [b'*' | b'?', ..] => (None, 1),
            [b'[', set @ ..] => (None, 1 + set_matches(set, 0).1),
            [b'\\', escaped, ..] => (Some(*escaped), 2),
            [plain, ..] => (Some(*plain), 1),
        };
        pattern = &pattern[length..];
        Some(literal)
    })
}

/// If the first element of the pattern takes this byte, how long that element is.
fn one_matches(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', set @ ..] => {
            let (taken, length) = set_matches(set, byte);
            taken.then_some(1 + length)
        }
        [b'\\', escaped, ..] => (*escaped == byte).then_some(2),
        [plain, ..] => (*plain == byte).then_some(1),
    }
}

/// Whether the set behind a `[` takes this byte, and how long it is, its `]` included; the pattern's end closes it too.
fn set_matches(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(negated), false);
    loop {
        match &set[at..] {
            [] => return (found != negated, at),
            [b']', ..] => return (found != negated, at + 1),
            [b'\\', escaped, ..] => {
                found |= *escaped == byte;
                at += 2;
            }
            [one, b'-', other, ..] => {
                found |= (*one.min(other)..=*one.max(other)).contains(&byte);
                at += 3;
            }
            [one, ..] => {
                found |= *one == byte;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("a\\", "a\\", true),
            ("??", "é", true),
            ("user:*:[0-9]", "user:x:y:7", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn literals_are_told_from_what_may_stand_for_others() {
        let literals: Vec<_> = literals(b"a*?\\*[b\\]c]d\\").collect();
        let some = |byte: u8| Some(byte);
        assert_eq!(literals, [some(b'a'), None, None, some(b'*'), None, some(b'd'), some(b'\\')]);
    }

    #[test]
    fn many_stars_cost_no_more_than_one() {
        assert!(!matches("*a".repeat(200).as_bytes(), "a".repeat(199).as_bytes()));
        assert!(!matches(("*a".repeat(30) + "b").as_bytes(), "a".repeat(10_000).as_bytes()));
    }
}
