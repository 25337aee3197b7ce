//! Tiles of `tiled` for makers whose compilers need other ones than the usual: what `tools/gpu-stats` saw decides.

use crate::{AdapterKind, AdapterProfile, attention::Attention};

/// How far the tiles of `tiled` may go on an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuning {
    /// Two vectors of o a row are too many registers: more lanes share a row then.
    pub(crate) few_registers: bool,
    /// Keys whose weights and values are staged at a time, at most.
    pub(crate) key_slice: usize,
    /// Steps whose operands are loaded together; `None` for the shader's own number.
    pub(crate) batch: Option<u32>,
    /// The maker, and why its tiles differ, where they do.
    pub(crate) why: Option<(&'static str, &'static str)>,
}

/// A row of the table: what stands in adapters' names, and tiles for rows up to 64 wide, up to 128, the same where lists have
/// blocks of fewer than [`WIDE_KEYS`] keys, and beyond.
type Maker = (&'static str, [Tile; 4]);

/// Tiles that differ from the usual.
#[derive(Clone, Copy, Debug)]
struct Tile {
    few_registers: bool,
    key_slice: usize,
    why: &'static str,
}

/// Mesa's compiler for Apple's GPUs keeps the addresses of unrolled slices in registers, and a core holds 1024 threads of up to
/// 104 half-registers, 640 of up to 160. Shorter slices have fewer addresses, single steps fewer operands.
const MAKERS: [Maker; 1] = [(
    "Apple",
    [
        Tile {
            few_registers: false,
            key_slice: 8,
            why: "8 keys a slice and single steps, as 32 and pairs take 231 half-registers and leave a core 448 threads, not 640",
        },
        Tile {
            few_registers: true,
            key_slice: 16,
            why: "32 rows and single steps, as 64 and pairs take 231 half-registers and leave a core 448 threads, not 640",
        },
        Tile {
            few_registers: false,
            key_slice: 8,
            why: "8 keys a slice and single steps, and 64 rows, as the lists have blocks of fewer than 128 keys",
        },
        Tile {
            few_registers: false,
            key_slice: 16,
            why: "single steps, as pairs take 223 half-registers and leave a core 448 threads, not 512",
        },
    ],
)];

/// Keys of a tile of 32 rows, of which blocks of lists have to be multiples.
const WIDE_KEYS: usize = 128;

impl Tuning {
    /// For rows of `widest` elements. `longest` is the longest slice that is worth compiling.
    pub(crate) fn of(spec: &Attention, adapter: &AdapterProfile, widest: usize, longest: usize) -> Self {
        // Hardware whose subgroups are always 64 wide has 256 registers a lane for all waves of a SIMD: two vectors of o a row
        // would leave room for two waves only.
        let few_registers = adapter.features.subgroups.is_some_and(|(min, _)| min >= 64);
        let usual = Self { few_registers, key_slice: longest, batch: None, why: None };
        let maker = MAKERS.iter().find(|(name, _)| adapter.name.contains(name));
        let Some((name, tiles)) = maker.filter(|_| adapter.kind != AdapterKind::Cpu) else {
            return usual;
        };
        let tile = match widest {
            0..=64 => tiles[0],
            65..=128 if listed_apart(spec) => tiles[2],
            65..=128 => tiles[1],
            _ => tiles[3],
        };
        Self {
            few_registers: few_registers || tile.few_registers,
            key_slice: tile.key_slice.min(longest),
            batch: Some(1),
            why: Some((name, tile.why)),
        }
    }
}

/// Whether the device's lists have blocks that tiles of many keys cannot follow.
fn listed_apart(spec: &Attention) -> bool {
    spec.device_blocks().is_some_and(|listed| !listed.kv_block.is_multiple_of(WIDE_KEYS))
}
