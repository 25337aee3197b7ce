// Which workgroup of a pass this is: the pass may be cut into several dispatches.

struct Grid {
    // The first workgroup of the dispatch.
    origin: vec3u,
}

@group(1) @binding(0) var<uniform> grid: Grid;

fn workgroup_of(dispatched: vec3u) -> vec3u {
    return grid.origin + dispatched;
}
