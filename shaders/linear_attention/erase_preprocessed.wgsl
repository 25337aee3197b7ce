// The erase key as a tensor of its own, among the prepared ones.

import package::linear_attention::problem::{params};
import package::shared::inputs_preprocessed::{prepared4};

fn erase4(batch: u32, head: u32, row: u32, column: u32) -> vec4f {
    return prepared4(params.x_base + batch * params.x_batch + head / params.group * params.x_head + row * params.x_row, column);
}
