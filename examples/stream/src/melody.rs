//! The tokens: notes of a melody that goes on and on, and a bell that rings twice.

use std::f64::consts::TAU;

/// Numbers that describe a note.
pub(crate) const FEATURES: usize = 16;

/// Features that the model knows by their place.
pub(crate) const ONE: usize = 0;
pub(crate) const BELL: usize = 1;
pub(crate) const BEATS: usize = 2;
pub(crate) const LOUDNESS: usize = 3;

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
}

impl Note {
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

/// So many notes, the same in every run: motifs that return, higher or lower.
pub(crate) fn compose(count: usize) -> Vec<Note> {
    let mut random = Random(0x9e37_79b9);
    let motifs: Vec<Vec<(i32, f64)>> = (0..4)
        .map(|_| {
            let mut degree = random.below(8);
            let mut motif = Vec::new();
            for _ in 0..MOTIF {
                // Small steps, mostly.
                degree = (degree + [-2, -1, -1, 0, 1, 1, 2, 3][random.index(8)]).clamp(-2, 8);
                motif.push((degree, [0.5, 0.5, 1.0, 1.0, 1.0, 2.0][random.index(6)]));
            }
            motif
        })
        .collect();
    let bells = bells(count);
    let (mut notes, mut start): (Vec<Note>, f64) = (Vec::new(), 0.0);
    while notes.len() < count {
        // A A B A, then the others.
        let phrase = notes.len() / MOTIF;
        let motif = &motifs[[0, 0, 1, 0, 2, 2, 3, 2][phrase % 8]];
        let moved = [0, 0, 1, 0, 2, -1, 0, 1][(phrase / 4) % 8] + random.below(2);
        for &(degree, beats) in motif {
            let degree = degree + moved;
            let pitch =
                57 + 12 * degree.div_euclid(5) + SCALE[usize::try_from(degree.rem_euclid(5)).unwrap_or(0)];
            let accent = if (start / BAR).fract() < 1e-9 { 0.25 } else { 0.0 };
            let step = notes.last().map_or(0, |last| pitch - last.pitch);
            let loudness = 0.55 + accent + 0.05 * f64::from(random.below(5));
            notes.push(Note { pitch, beats, loudness, bell: bells.contains(&notes.len()), start, step });
            start += beats;
        }
    }
    notes.truncate(count);
    notes
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

    #[test]
    fn there_are_as_many_notes_as_asked_for_and_bells_among_them() {
        for count in [1, 2, 17, 1000] {
            let notes = compose(count);
            assert_eq!(notes.len(), count);
            let rung: Vec<usize> = (0..count).filter(|&at| notes[at].bell).collect();
            let mut expected = bells(count).to_vec();
            expected.dedup();
            assert_eq!(rung, expected);
        }
    }

    #[test]
    fn notes_can_be_sung() {
        let notes = compose(1000);
        assert!(notes.iter().all(|note| (50..=86).contains(&note.pitch)));
        assert!(notes.iter().all(|note| note.loudness < 1.001 && note.loudness > 0.5));
        assert!(notes.iter().all(|note| note.features().iter().all(|x| x.abs() <= 2.0)));
        assert_eq!(compose(1000), notes);
    }
}
