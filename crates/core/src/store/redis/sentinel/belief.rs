//! Whom to believe when sentinels differ. Pure.
//!
//! The word of the highest epoch is the newest. What has been believed once isn't given up for an older word, which is
//! what a sentinel says that was cut off: unless for some time nobody says better and more than half of all sentinels
//! agree, as they do when they were set up anew. Where not all of them tell their epochs, most of those that answer are
//! believed; back to the server that was left last they lead only as more than half of all.

use std::time::Duration;

use super::word::Word;
use crate::config::Node;
use crate::moment::Moment;

/// How long sentinels must agree on an older word before it counts. They tell each other every two seconds what is new.
const OLDER_COUNTS_AFTER: Duration = Duration::from_secs(10);

/// What is believed about one primary.
pub(super) struct Belief {
    /// How many sentinels there are.
    sentinels: usize,
    known: Option<Word>,
    /// The primary before.
    left: Option<Node>,
    /// Since when more than half of all sentinels agree on a word that is older.
    older_since: Option<Moment>,
}

impl Belief {
    pub(super) fn new(sentinels: usize) -> Self {
        Self { sentinels, known: None, left: None, older_since: None }
    }

    /// Where the primary is believed to be.
    pub(super) fn known(&self) -> Option<&Node> {
        self.known.as_ref().map(|known| &known.at)
    }

    /// Whether these words, one of each sentinel that answered, are enough to judge by: one is newer than all that is
    /// known, or more than half of all agree and aren't behind.
    pub(super) fn is_plain(&self, words: &[Word]) -> bool {
        let Some((best, support)) = self.best(words) else { return false };
        let epochs = (best.epoch, self.known.as_ref().and_then(|known| known.epoch));
        let newer = matches!(epochs, (Some(said), Some(known)) if said > known);
        let older = matches!(epochs, (Some(said), Some(known)) if said < known);
        newer || (support * 2 > self.sentinels && !older)
    }

    /// What to believe now, after these words; `None` if they aren't worth it.
    pub(super) fn judge(&mut self, now: Moment, words: &[Word]) -> Option<Word> {
        let (best, support) = self.best(words)?;
        if !self.accepts(now, &best, support, words.len()) {
            return None;
        }
        self.older_since = None;
        let epoch = match self.known.take() {
            Some(known) if known.at == best.at => known.epoch.max(best.epoch),
            Some(known) => {
                self.left = Some(known.at);
                best.epoch
            }
            None => best.epoch,
        };
        let word = Word { epoch, ..best };
        self.known = Some(word.clone());
        Some(word)
    }

    fn accepts(&mut self, now: Moment, best: &Word, support: usize, answers: usize) -> bool {
        let Some(known) = &self.known else { return true };
        let most_of_all = support * 2 > self.sentinels;
        if known.at == best.at {
            return true;
        }
        match (best.epoch, known.epoch) {
            (Some(said), Some(known)) if said > known => true,
            (Some(said), Some(known)) if said == known => most_of_all,
            (Some(_), Some(_)) => {
                let since = most_of_all.then(|| self.older_since.unwrap_or(now));
                self.older_since = since;
                since.is_some_and(|since| since + OLDER_COUNTS_AFTER <= now)
            }
            _ => support * 2 > answers && (most_of_all || self.left.as_ref() != Some(&best.at)),
        }
    }

    /// The word that weighs most, and how many say the same.
    fn best(&self, words: &[Word]) -> Option<(Word, usize)> {
        let all_tell = words.iter().all(|word| word.epoch.is_some());
        let weigh = |word: &Word| {
            let same = words.iter().filter(|other| other.at == word.at);
            let epoch = same.clone().map(|other| other.epoch).max().flatten();
            let (support, known) = (same.count(), self.known() == Some(&word.at));
            (epoch.filter(|_| all_tell), support, epoch, known)
        };
        // Of equals the first: it answered first.
        let best = words.iter().rev().max_by_key(|word| weigh(word))?;
        let (_, support, epoch, _) = weigh(best);
        Some((Word { at: best.at.clone(), epoch }, support))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(said: &[(u16, Option<u64>)]) -> Vec<Word> {
        let word = |(port, epoch): &(u16, Option<u64>)| Word {
            at: Node { host: "h".into(), port: *port },
            epoch: *epoch,
        };
        said.iter().map(word).collect()
    }

    fn at(seconds: u64) -> Moment {
        Moment::default() + Duration::from_secs(seconds)
    }

    /// Whom three sentinels are believed to name after these words, one row after the other, a second apart.
    fn believed(rows: &[&[(u16, Option<u64>)]]) -> Option<u16> {
        let mut belief = Belief::new(3);
        for (second, row) in (0..).zip(rows) {
            let judged = belief.judge(at(second), &words(row));
            assert!(judged.is_none_or(|word| Some(&word.at) == belief.known()));
        }
        belief.known().map(|node| node.port)
    }

    #[test]
    fn the_highest_epoch_is_believed_though_one_alone_says_it() {
        assert_eq!(believed(&[&[(1, Some(5)), (2, Some(6)), (1, Some(5))]]), Some(2));
        assert_eq!(believed(&[&[(1, Some(5)); 3], &[(1, Some(5)), (1, Some(5)), (2, Some(6))]]), Some(2));
    }

    #[test]
    fn an_older_word_pulls_nobody_back() {
        let switched: &[(u16, Option<u64>)] = &[(1, Some(5)), (2, Some(6))];
        assert_eq!(believed(&[switched, &[(1, Some(5))]]), Some(2));
        assert_eq!(believed(&[switched, &[(1, Some(5)), (1, Some(5))]]), Some(2));
        assert_eq!(believed(&[switched, &[(1, Some(4)); 3]]), Some(2));
        let lonely: Vec<&[(u16, Option<u64>)]> = [switched].into_iter().chain([&switched[..1]; 60]).collect();
        assert_eq!(believed(&lonely), Some(2));
    }

    #[test]
    fn sentinels_that_were_set_up_anew_are_believed_after_a_while() {
        let (old, new): (&[_], &[_]) = (&[(1, Some(9)); 3], &[(2, Some(0)), (2, Some(0))]);
        let rows = |many: usize| [old].into_iter().chain(std::iter::repeat_n(new, many)).collect::<Vec<_>>();
        assert_eq!(believed(&rows(10)), Some(1));
        assert_eq!(believed(&rows(11)), Some(2));
        // Not while anybody says what was known.
        let mut contested = rows(9);
        contested.push(&[(2, Some(0)), (2, Some(0)), (1, Some(9))]);
        contested.extend(std::iter::repeat_n(new, 9));
        assert_eq!(believed(&contested), Some(1));
    }

    #[test]
    fn without_epochs_most_of_those_that_answer_are_believed() {
        assert_eq!(believed(&[&[(1, None), (2, None), (2, None)]]), Some(2));
        assert_eq!(believed(&[&[(1, None); 3], &[(1, None), (2, None), (2, None)]]), Some(2));
        assert_eq!(believed(&[&[(1, None); 3], &[(1, None), (2, None)]]), Some(1));
        assert_eq!(believed(&[&[(1, Some(9)), (2, None), (2, None)]]), Some(2));
        // A lone one leads on, and not back.
        assert_eq!(believed(&[&[(1, None); 3], &[(2, None)]]), Some(2));
        assert_eq!(believed(&[&[(1, None); 3], &[(2, None); 3], &[(1, None)]]), Some(2));
        assert_eq!(believed(&[&[(1, None); 3], &[(2, None); 3], &[(1, None), (1, None)]]), Some(1));
    }

    #[test]
    fn of_equal_epochs_more_than_half_of_all_decide() {
        assert_eq!(believed(&[&[(1, Some(0)), (2, Some(0)), (2, Some(0))]]), Some(2));
        assert_eq!(believed(&[&[(1, Some(0)); 3], &[(2, Some(0))]]), Some(1));
        assert_eq!(believed(&[&[(1, Some(0)); 3], &[(2, Some(0)), (2, Some(0))]]), Some(2));
    }

    #[test]
    fn more_words_are_waited_for_while_they_might_count() {
        let mut belief = Belief::new(3);
        assert!(!belief.is_plain(&[]));
        assert!(!belief.is_plain(&words(&[(1, Some(5))])));
        assert!(belief.is_plain(&words(&[(1, Some(5)), (1, Some(5))])));
        belief.judge(at(0), &words(&[(1, Some(5)); 3]));
        assert!(belief.is_plain(&words(&[(2, Some(6))])));
        belief.judge(at(0), &words(&[(2, Some(6))]));
        assert!(!belief.is_plain(&words(&[(1, Some(5)), (1, Some(5))])));
    }
}
