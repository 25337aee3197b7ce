// Where masks and scores given as expressions are inserted. As they stand they change nothing; a kernel calls them only
// where its tunables SCORE_HOOK and MASK_HOOK say so.

// One element of the score matrix. Indices count from the problem's first batch entry and head.
struct Element {
    batch: u32,
    head: u32,
    query: u32,
    key: u32,
}

// The score that enters the softmax, in base 2, from the scaled one.
fn hook_score(score: f32, at: Element) -> f32 {
    return score;
}

// Whether the query sees the key, beyond what the structural mask says.
fn hook_visible(at: Element) -> bool {
    return true;
}
