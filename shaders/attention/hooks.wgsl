// Where masks and scores given as expressions are inserted. As they stand they change nothing; a kernel calls them only
// where its tunables SCORE_MOD and MASK_MOD say so.

// Functions that expressions call.
import package::shared::math::{is_nan};

const SCORE_MOD: bool = false;
const MASK_MOD: bool = false;

// One element of the score matrix.
struct Element {
    batch: u32,
    head: u32,
    query: u32,
    key: u32,
}

// The score that enters the softmax from the scaled one, in natural units. -inf hides the element.
fn hook_score_mod(score: f32, at: Element) -> f32 {
    return score;
}

// Whether the query sees the keys, beyond what structure and lists say. The element's own key does not count.
fn hook_mask_mod(at: Element, keys: vec4u) -> vec4<bool> {
    return vec4<bool>(true);
}
