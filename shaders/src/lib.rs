//! WGSL compute kernels for attention, and the specialiser that turns them into final text.
//!
//! Shaders are whole WGSL files with loops, arrays and named `const` tunables: they open in an editor, validate with their
//! defaults and read like the algorithm they implement. The text for a driver is made from them by a [`Library`]:
//! imports linked, tunables set, hooks filled, constants folded, loops unrolled, arrays turned into scalars, and
//! everything that is not used dropped. Register arrays cost a factor of two to four on real drivers; `score_3_5` is
//! tedious to write by hand.
//!
//! ```
//! use foveal_shaders::{Library, Request};
//!
//! let library = Library::empty().with_modules(&[(
//!     "example/sum",
//!     "const COUNT: u32 = 4u;
//!      @group(0) @binding(0) var<storage, read_write> data: array<f32>;
//!      @compute @workgroup_size(64)
//!      fn main(@builtin(global_invocation_id) id: vec3<u32>) {
//!          var part: array<f32, COUNT>;
//!          for (var i = 0u; i < COUNT; i++) { part[i] = data[id.x * COUNT + i]; }
//!          for (var i = 1u; i < COUNT; i++) { part[0] += part[i]; }
//!          data[id.x] = part[0];
//!      }",
//! )])?;
//! let kernel = library.specialise(&Request::new("example/sum").tunable("COUNT", 2u32))?;
//! assert!(kernel.text.contains("part_0 += part_1;"));
//! assert_eq!(kernel.interface.workgroup_size, [64, 1, 1]);
//! assert!(kernel.arrays_left.is_empty());
//! # Ok::<(), foveal_shaders::Error>(())
//! ```
//!
//! The conventions for shader authors, with the rules of unrolling, are in the package's README.
//!
//! The passes, in order: `link` (imports, replacements, hooks), `context` (constants, assertions), then for each item that
//! the entry point reaches `body`, `fold`, `inline` and `unroll` (one walk) and `scalarise`; then `reflect` and `print`.

mod arithmetic;
mod arrays;
mod body;
mod bounded;
mod context;
mod error;
mod flow;
mod fold;
mod inline;
mod layout;
mod library;
mod link;
mod nesting;
mod print;
mod reach;
mod reflect;
mod request;
mod scalarise;
mod scope;
mod source;
mod specialise;
mod tree;
mod tunables;
mod unroll;
mod value;

pub use bounded::bound_loops;
pub use error::{Error, ErrorKind};
pub use library::Library;
pub use reflect::{Binding, BindingKind, Field, Interface, UniformLayout};
pub use request::{Request, Target, Tunable, Value, ValueType};
pub use specialise::Specialised;
