//! The tokens: notes of a melody that goes on and on, and a bell that rings twice.

use std::f64::consts::TAU;

/// Numbers that describe a note.
pub(crate) const FEATURES: usize = 16;

/// Features that the model knows by their place.
pub(crate) const ONE: usize = 0;
pub(crate) const BELL: usize = 1;
pub(crate) const BEATS: usize = 2;
pub(crate) const LOUDNESS: usize = 3;

/// Notes in which a guess looks for what it knows, and notes that are compared.
const REMEMBERED: usize = 256;
const LOOKED_UP: usize = 4;

/// Notes of a motif.
const MOTIF: usize = 16;
/// Beats of a bar.
const BAR: f64 = 4.0;
/// A minor pentatonic, in semitones above its root.
const SCALE: [i32; 5] = [0, 3, 5, 7, 10];

/// One token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Note {
    /// In semitones, as MIDI counts them: 69 is A above middle C.
    pub(crate) pitch: i32,
    /// How long it lasts.
    pub(crate) beats: f64,
    /// From 0 to 1.
    pub(crate) loudness: f64,
    /// Whether the bell rings with it.
    pub(crate) bell: bool,
    /// When it begins, in beats.
    start: f64,
    /// Semitones from the note before.
    step: i32,
    /// How hard it is struck, beside the bar's accents: 0 to 4.
    touch: i32,
}

impl Note {
    /// The note that comes after `last`.
    fn after(last: Option<&Self>, pitch: i32, beats: f64, touch: i32) -> Self {
        let start = last.map_or(0.0, |last| last.start + last.beats);
        let step = last.map_or(0, |last| pitch - last.pitch);
        let accent = if (start / BAR).fract() < 1e-9 { 0.25 } else { 0.0 };
        let loudness = 0.55 + accent + 0.05 * f64::from(touch);
        Self { pitch, beats, loudness, bell: false, start, step, touch }
    }

    /// The note as the model sees it.
    #[expect(clippy::cast_possible_truncation, reason = "f32 is what the device computes with")]
    pub(crate) fn features(&self) -> [f32; FEATURES] {
        let turn = |turns: f64| [(TAU * turns).cos(), (TAU * turns).sin()];
        let class = f64::from(self.pitch) / 12.0;
        let [c1, s1] = turn(class);
        let [c2, s2] = turn(2.0 * class);
        let [c3, s3] = turn(3.0 * class);
        let [bar_c, bar_s] = turn(self.start / BAR);
        let [phrase_c, phrase_s] = turn(self.start / (4.0 * BAR));
        let bell = if self.bell { 1.0 } else { 0.0 };
        let height = class - 69.0 / 12.0;
        let step = f64::from(self.step) / 12.0;
        [
            1.0,
            bell,
            self.beats,
            self.loudness,
            c1,
            s1,
            c2,
            s2,
            c3,
            s3,
            height,
            bar_c,
            bar_s,
            phrase_c,
            phrase_s,
            step,
        ]
        .map(|feature: f64| feature as f32)
    }
}

/// Where the bell rings among so many notes.
pub(crate) fn bells(count: usize) -> [usize; 2] {
    [count * 3 / 25, count * 14 / 25]
}

/// So many notes, the same in every run with a seed: motifs that return, higher or lower.
pub(crate) fn compose(count: usize, seed: u32) -> Vec<Note> {
    let mut random = Random(seed);
    let motifs: Vec<Vec<(i32, f64, i32)>> = (0..4)
        .map(|_| {
            let mut degree = random.below(8);
            let mut motif = Vec::new();
            for _ in 0..MOTIF {
                // Small steps, mostly.
                degree = (degree + [-2, -1, -1, 0, 1, 1, 2, 3][random.index(8)]).clamp(-2, 8);
                let beats = [0.5, 0.5, 1.0, 1.0, 1.0, 2.0][random.index(6)];
                motif.push((degree, beats, random.below(5)));
            }
            motif
        })
        .collect();
    let bells = bells(count);
    let mut notes: Vec<Note> = Vec::new();
    while notes.len() < count {
        // A A B A, then the others.
        let phrase = notes.len() / MOTIF;
        let motif = &motifs[[0, 0, 1, 0, 2, 2, 3, 2][phrase % 8]];
        let moved = [0, 0, 1, 0, 2, -1, 0, 1][(phrase / 4) % 8] + random.below(2);
        for &(degree, beats, touch) in motif {
            let degree = degree + moved;
            let pitch =
                57 + 12 * degree.div_euclid(5) + SCALE[usize::try_from(degree.rem_euclid(5)).unwrap_or(0)];
            let bell = bells.contains(&notes.len());
            notes.push(Note { bell, ..Note::after(notes.last(), pitch, beats, touch) });
        }
    }
    notes.truncate(count);
    notes
}

/// The notes that may follow those that were heard: what followed the last few when they were last heard (Saxena 2023, prompt
/// lookup decoding). A bell is never expected.
pub(crate) fn guess(heard: &[Note], count: usize) -> Vec<Note> {
    let mut notes = heard[heard.len().saturating_sub(REMEMBERED)..].to_vec();
    let known = notes.len();
    let alike = |a: &Note, b: &Note| (a.step, a.beats, a.touch) == (b.step, b.beats, b.touch);
    // How many notes before `end` are like the last ones.
    let length = |end: usize| {
        let pairs = notes[..end].iter().rev().zip(notes.iter().rev());
        pairs.take(LOOKED_UP).take_while(|(a, b)| alike(a, b)).count()
    };
    // Of several places that are equally like it, the latest.
    let Some(from) = (1..known).max_by_key(|&end| (length(end), end)) else {
        // Of a first note nothing is known but itself.
        return notes.last().map_or_else(Vec::new, |&only| repeated(only, count));
    };
    for at in from..from + count {
        let like = notes[at];
        let last = notes[notes.len() - 1];
        notes.push(Note::after(Some(&last), last.pitch + like.step, like.beats, like.touch));
    }
    notes.split_off(known)
}

fn repeated(note: Note, count: usize) -> Vec<Note> {
    let next = |last: &Note| Some(Note::after(Some(last), last.pitch, last.beats, last.touch));
    std::iter::successors(Some(note), next).skip(1).take(count).collect()
}

/// Marsaglia 2003, xorshift.
pub(crate) struct Random(pub(crate) u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn index(&mut self, end: u32) -> usize {
        (self.next() % end) as usize
    }

    fn below(&mut self, end: u32) -> i32 {
        i32::try_from(self.next() % end).unwrap_or(0)
    }

    /// Mean 0, standard deviation 1: a sum of evenly distributed numbers is close enough to normal.
    pub(crate) fn normal(&mut self) -> f64 {
        let sum: f64 = (0..12).map(|_| f64::from(self.next()) / f64::from(u32::MAX)).sum();
        sum - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::SEEDS;

    #[test]
    fn there_are_as_many_notes_as_asked_for_and_bells_among_them() {
        for count in [1, 2, 17, 1000] {
            let notes = compose(count, 7);
            assert_eq!(notes.len(), count);
            let rung: Vec<usize> = (0..count).filter(|&at| notes[at].bell).collect();
            let mut expected = bells(count).to_vec();
            expected.dedup();
            assert_eq!(rung, expected);
        }
    }

    #[test]
    fn notes_can_be_sung() {
        for seed in SEEDS {
            let notes = compose(1000, seed);
            assert!(notes.iter().all(|note| (50..=86).contains(&note.pitch)));
            assert!(notes.iter().all(|note| note.loudness < 1.001 && note.loudness > 0.5));
            assert!(notes.iter().all(|note| note.features().iter().all(|x| x.abs() <= 2.0)));
            assert_eq!(compose(1000, seed), notes);
        }
    }

    #[test]
    fn guesses_are_often_right_and_often_wrong() {
        let notes = compose(400, 7);
        let right = |at: usize| {
            let guessed = guess(&notes[..=at], 3);
            assert_eq!(guessed.len(), 3);
            guessed.iter().zip(&notes[at + 1..]).take_while(|(a, b)| a == b).count()
        };
        let counts: Vec<usize> = (0..390).map(right).collect();
        for count in 0..=3 {
            assert!(counts.iter().filter(|&&found| found == count).count() > 10, "{count}");
        }
        // A bell comes as a surprise.
        assert!(bells(400).iter().all(|&bell| counts[bell - 1] == 0));
        assert!(guess(&[], 3).is_empty());
    }
}
