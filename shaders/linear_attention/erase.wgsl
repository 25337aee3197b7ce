// The erase key where it is the key itself.

import package::linear_attention::problem::{key_row};
import package::shared::inputs::{k4};

fn erase4(batch: u32, head: u32, row: u32, column: u32) -> vec4f {
    return k4(key_row(batch, head, row), column);
}
