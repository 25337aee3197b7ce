//! Plans of linear attention: how each variant cuts a problem, and the passes it makes.

pub(super) mod bindings;
pub(super) mod broadcast;
pub(super) mod chunked;
pub(super) mod chunked_passes;
pub(super) mod chunks;
pub(super) mod compose;
pub(super) mod params;
pub(super) mod passes;
pub(super) mod preprocess;
pub(super) mod recurrent;
pub(super) mod regions;
pub(super) mod states;
pub(super) mod turns;
pub(super) mod variants;
