//! Bits in words: bit `i` is bit `i % 32` of word `i / 32`.

/// Sets one bit; nothing beyond the words.
pub(super) fn set(words: &mut [u32], at: usize) {
    if let Some(word) = words.get_mut(at / 32) {
        *word |= 1 << (at % 32);
    }
}

/// Sets `count` bits from `start`.
pub(super) fn set_range(words: &mut [u32], start: usize, count: usize) {
    let (mut at, end) = (start, start + count);
    while at < end {
        let take = (32 - at % 32).min(end - at);
        if let Some(word) = words.get_mut(at / 32) {
            *word |= low(take) << (at % 32);
        }
        at += take;
    }
}

/// Sets those of `count` bits from `to` in `words` that are set from `from` in `source`.
pub(super) fn or_range(words: &mut [u32], to: usize, source: &[u32], from: usize, count: usize) {
    let mut done = 0;
    while done < count {
        let (at, read) = (to + done, from + done);
        // Not over the end of a word on either side.
        let take = (32 - at % 32).min(32 - read % 32).min(count - done);
        let piece = source.get(read / 32).map_or(0, |word| word >> (read % 32) & low(take));
        if let Some(word) = words.get_mut(at / 32) {
            *word |= piece << (at % 32);
        }
        done += take;
    }
}

/// The lowest `count` bits, 1 to 32 of them.
fn low(count: usize) -> u32 {
    if count >= 32 { u32::MAX } else { (1 << count) - 1 }
}

/// Number of bits set.
pub(super) fn ones(words: &[u32]) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}
