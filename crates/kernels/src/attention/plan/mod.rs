//! Plans of attention: how each variant cuts a problem, and the passes it makes.

pub(super) mod bindings;
pub(super) mod block_schedule;
pub(super) mod broadcast;
mod choose_lists;
pub(super) mod decode;
pub(super) mod gather;
mod hooks;
pub(super) mod indirect;
pub(super) mod list;
pub(super) mod mask_program;
mod matrix;
pub(super) mod params;
pub(super) mod partition;
pub(super) mod passes;
mod prefix_passes;
pub(super) mod preprocess;
mod rotate;
mod row_pieces;
pub(super) mod shared_prefix;
pub(super) mod split_kv;
pub(super) mod split_passes;
pub(super) mod tile_scheduler;
pub(super) mod token_order;
mod tuning;
pub(super) mod variants;
