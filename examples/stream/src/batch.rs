//! The host's view of its requests: how far each has come, and which tokens the device is shown next.

use foveal_examples_common::Failure;

use crate::melody::{FEATURES, Note, compose, guess};
use crate::pages::{PAGE, Pages, touched};

/// Requests of the batch: a melody, and a shorter one that joins later.
pub(crate) const REQUESTS: usize = 2;
/// Their melodies.
pub(crate) const SEEDS: [u32; REQUESTS] = [0x9e37_79b9, 77];

/// Where the state of a request lies: in one of two windows of states, after one of the tokens of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StateAt {
    pub(crate) window: usize,
    pub(crate) entry: usize,
}

/// A melody, and how much of it has been heard.
pub(crate) struct Request {
    pub(crate) notes: Vec<Note>,
    /// Notes of the first request after which it joins.
    joins: usize,
    /// Notes that are settled.
    at: usize,
    state: StateAt,
    /// The notes that are shown: the one that has arrived, then guesses.
    draft: Vec<Note>,
    /// Of settled notes, whether they were guessed before they arrived.
    guessed: Vec<bool>,
    /// Guesses that were taken back.
    pub(crate) taken_back: usize,
}

impl Request {
    /// Notes that were guessed before they arrived.
    pub(crate) fn right(&self) -> impl Iterator<Item = usize> {
        (0..).zip(&self.guessed).filter_map(|(at, &guessed)| guessed.then_some(at))
    }
}

/// The part of a request in a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) request: usize,
    /// Position of the draft's first note.
    pub(crate) at: usize,
    /// The state to go on from. The other window is written.
    pub(crate) state: StateAt,
}

/// A step: the numbers that go to the device, and what becomes of its drafts.
pub(crate) struct Step {
    /// `[REQUESTS, draft, FEATURES]`.
    pub(crate) features: Vec<f32>,
    /// Keys of each request, the draft's included.
    pub(crate) kv_len: [i32; REQUESTS],
    /// Notes of each request's draft: none before it joins and after its end.
    pub(crate) q_len: [i32; REQUESTS],
    /// Changes of the table of pages: index and page.
    pub(crate) pages: Vec<(usize, i32)>,
    pub(crate) turns: Vec<Turn>,
}

/// All requests.
pub(crate) struct Batch {
    pub(crate) requests: Vec<Request>,
    pages: Pages,
    /// Notes of a draft.
    draft: usize,
    window: usize,
    /// Places of a request in the table of pages.
    pub(crate) places: usize,
    /// Pages of the pool.
    pub(crate) pool: usize,
}

impl Batch {
    /// Melodies for so many notes of the first request.
    pub(crate) fn new(tokens: usize, draft: usize, window: usize) -> Result<Self, Failure> {
        let request = |notes: usize, seed: u32, joins: usize| Request {
            notes: compose(notes, seed),
            joins,
            at: 0,
            state: StateAt { window: 1, entry: draft - 1 },
            draft: Vec::new(),
            guessed: Vec::new(),
            taken_back: 0,
        };
        let [first, second] = SEEDS;
        let requests = vec![request(tokens, first, 0), request(tokens.div_ceil(2), second, tokens / 5)];
        let places = (tokens + draft).div_ceil(PAGE);
        // The earliest of a draft's queries sees `window` keys, and the others follow.
        let pool = REQUESTS * touched(window + draft - 1).min(places);
        let pages = i32::try_from(pool).map_err(|error| Failure::usage("--window", error))?;
        Ok(Self { requests, pages: Pages::new(pages, REQUESTS, places), draft, window, places, pool })
    }

    /// The table of pages, `[REQUESTS, places]`, as it is now.
    pub(crate) fn table(&self) -> Vec<i32> {
        self.pages.table()
    }

    /// The next step, unless all melodies have ended.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, Failure> {
        let heard = self.requests[0].at;
        let mut step = Step {
            features: vec![0.0; REQUESTS * self.draft * FEATURES],
            kv_len: [0; REQUESTS],
            q_len: [0; REQUESTS],
            pages: Vec::new(),
            turns: Vec::new(),
        };
        for (request, its) in self.requests.iter_mut().enumerate() {
            let &mut Request { at, state, joins, .. } = its;
            if at == its.notes.len() || heard < joins {
                continue;
            }
            its.draft = its.notes[at..=at].to_vec();
            its.draft.extend(guess(&its.notes[..=at], self.draft - 1));
            let features = its.draft.iter().flat_map(Note::features);
            for (feature, to) in features.zip(&mut step.features[request * self.draft * FEATURES..]) {
                *to = feature;
            }
            let end = at + self.draft;
            let first = (at + 1).saturating_sub(self.window);
            let changed = self.pages.hold(request, first..end)?;
            step.pages.extend(changed.into_iter().map(|(place, page)| (request * self.places + place, page)));
            let length =
                |count: usize| i32::try_from(count).map_err(|error| Failure::usage("--tokens", error));
            (step.kv_len[request], step.q_len[request]) = (length(end)?, length(self.draft)?);
            step.turns.push(Turn { request, at, state });
        }
        Ok((!step.turns.is_empty()).then_some(step))
    }

    /// The notes arrive that were guessed. Keeps those that are right, up to the first that is not.
    ///
    /// To take the others back costs nothing: the next draft's keys overwrite theirs, and the state to go on from is the
    /// one after the last note that is kept.
    pub(crate) fn settle(&mut self, step: &Step) {
        for &Turn { request, at, state } in &step.turns {
            let Request { notes, draft, guessed, .. } = &mut self.requests[request];
            let right = draft.iter().zip(&notes[at..]).take_while(|(shown, note)| shown == note).count();
            guessed.push(false);
            guessed.resize(at + right, true);
            let its = &mut self.requests[request];
            its.at = at + right;
            its.state = StateAt { window: 1 - state.window, entry: right - 1 };
            its.taken_back += self.draft - right;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_note_is_settled_once_and_in_order() {
        for (tokens, draft, window) in [(1, 4, 256), (2, 1, 1), (100, 8, 7), (400, 4, 64)] {
            let mut batch = Batch::new(tokens, draft, window).unwrap();
            let mut at = [0; REQUESTS];
            let mut from = [StateAt { window: 1, entry: draft - 1 }; REQUESTS];
            while let Some(step) = batch.next().unwrap() {
                for turn in &step.turns {
                    assert_eq!((turn.at, turn.state), (at[turn.request], from[turn.request]));
                    assert_eq!(step.kv_len[turn.request], i32::try_from(turn.at + draft).unwrap());
                }
                batch.settle(&step);
                for turn in &step.turns {
                    let its = &batch.requests[turn.request];
                    let kept = its.at - turn.at;
                    assert!((1..=draft).contains(&kept));
                    at[turn.request] += kept;
                    from[turn.request] = StateAt { window: 1 - turn.state.window, entry: kept - 1 };
                }
            }
            for its in &batch.requests {
                assert_eq!((its.at, its.guessed.len()), (its.notes.len(), its.notes.len()));
            }
            let guessed = batch.requests[0].right().count();
            assert!(tokens < 100 || (guessed > tokens / 4 && batch.requests[0].taken_back > tokens / 10));
        }
    }
}
