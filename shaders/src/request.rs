//! Requests: the caller's part in a kernel's text.

use std::fmt;
use std::hash::{Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

/// Which final text to make of which module.
///
/// ```
/// use foveal_shaders::Request;
/// let request = Request::new("attention/tiled").tunable("BLOCK_Q", 64u32).replace("shared/inputs", "shared/inputs_f16");
/// assert_ne!(request.fingerprint(), Request::new("attention/tiled").fingerprint());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Path of the root module, such as `attention/tiled`.
    pub module: String,
    /// Tunables to set; the others keep their defaults. Setting one twice is an error.
    pub tunables: Vec<(String, Value)>,
    /// Modules to import in place of others: (imported path, path used in its place).
    pub replace: Vec<(String, String)>,
    /// Functions to put in place of hooks: (hook's name, WGSL text that declares it).
    pub hooks: Vec<(String, String)>,
    /// Whether loops are unrolled and arrays turned into scalars. On by default; off gives the rolled text of an
    /// equivalent program, for reading and for comparison.
    pub unroll: bool,
    /// Who compiles the text.
    pub target: Target,
}

impl Request {
    /// The module with its default tunables, unrolled, for [`Target::Native`].
    pub fn new(module: impl Into<String>) -> Self {
        Self {
            module: module.into(),
            tunables: Vec::new(),
            replace: Vec::new(),
            hooks: Vec::new(),
            unroll: true,
            target: Target::Native,
        }
    }

    /// Sets a tunable; its type must be that of the declaration.
    #[must_use]
    pub fn tunable(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tunables.push((name.into(), value.into()));
        self
    }

    /// Forgets what was said of these tunables and modules, so that it can be said anew: saying it twice is an error.
    #[must_use]
    pub fn without(mut self, names: &[&str]) -> Self {
        self.tunables.retain(|(name, _)| !names.contains(&name.as_str()));
        self.replace.retain(|(module, _)| !names.contains(&module.as_str()));
        self
    }

    /// Imports `with` wherever a module imports `module`. This is how storage formats are swapped: `with` must offer
    /// every item that is imported from `module`.
    #[must_use]
    pub fn replace(mut self, module: impl Into<String>, with: impl Into<String>) -> Self {
        self.replace.push((module.into(), with.into()));
        self
    }

    /// Puts the function of this name from `text` in place of the module's.
    #[must_use]
    pub fn hook(mut self, name: impl Into<String>, text: impl Into<String>) -> Self {
        self.hooks.push((name.into(), text.into()));
        self
    }

    /// Turns unrolling on or off.
    #[must_use]
    pub fn unroll(mut self, unroll: bool) -> Self {
        self.unroll = unroll;
        self
    }

    /// Sets who compiles the text.
    #[must_use]
    pub fn target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// A key for caches: equal requests have equal fingerprints in every process, on every machine and in every build of
    /// one version of this package. The order of tunables, replacements and hooks does not matter.
    ///
    /// It does not cover the text of the library's modules: a cache that outlives the program adds its version, or uses a
    /// hash of [`Specialised::text`](crate::Specialised::text).
    pub fn fingerprint(&self) -> u128 {
        let mut hash = Xxh3::new();
        // Lengths go first, so that no two different requests feed the same bytes.
        let mut bytes = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        bytes(self.module.as_bytes());
        let mut tunables: Vec<_> = self.tunables.iter().map(|(name, value)| (name, value.key())).collect();
        tunables.sort_unstable();
        bytes(&(tunables.len() as u64).to_le_bytes());
        for (name, (tag, bits)) in tunables {
            bytes(name.as_bytes());
            bytes(&[tag]);
            bytes(&bits.to_le_bytes());
        }
        for list in [&self.replace, &self.hooks] {
            let mut list: Vec<_> = list.iter().collect();
            list.sort_unstable();
            bytes(&(list.len() as u64).to_le_bytes());
            for (key, value) in list {
                bytes(key.as_bytes());
                bytes(value.as_bytes());
            }
        }
        bytes(&[u8::from(self.unroll), self.target as u8]);
        hash.digest128()
    }
}

/// Who compiles the final text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Target {
    /// naga, which rejects `enable subgroups;` and accepts subgroup built-ins without it.
    #[default]
    Native = 0,
    /// A browser, which requires `enable subgroups;`.
    Browser = 1,
}

/// A tunable's value. Floats compare and hash by their bits.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// WGSL `bool`.
    Bool(bool),
    /// WGSL `u32`.
    U32(u32),
    /// WGSL `i32`.
    I32(i32),
    /// WGSL `f32`; must be finite.
    F32(f32),
}

impl Value {
    /// The value's type.
    pub fn ty(self) -> ValueType {
        match self {
            Self::Bool(_) => ValueType::Bool,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
        }
    }

    fn key(self) -> (u8, u32) {
        match self {
            Self::Bool(v) => (0, u32::from(v)),
            Self::U32(v) => (1, v),
            Self::I32(v) => (2, v.cast_unsigned()),
            Self::F32(v) => (3, v.to_bits()),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::I32(value)
    }
}

impl From<f32> for Value {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

/// As a WGSL literal: `true`, `64u`, `-1i`, `0.5f`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(v) => write!(f, "{v}"),
            Self::U32(v) => write!(f, "{v}u"),
            Self::I32(v) => write!(f, "{v}i"),
            Self::F32(v) => write!(f, "{v:?}f"),
        }
    }
}

/// The type of a tunable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// WGSL `bool`.
    Bool,
    /// WGSL `u32`.
    U32,
    /// WGSL `i32`.
    I32,
    /// WGSL `f32`.
    F32,
}

impl ValueType {
    /// The type of this WGSL name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "u32" => Self::U32,
            "i32" => Self::I32,
            "f32" => Self::F32,
            _ => return None,
        })
    }
}

/// The WGSL name.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
        })
    }
}

/// A `const` that a [`Request`] may set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tunable {
    /// The constant's name.
    pub name: String,
    /// Its declared type.
    pub ty: ValueType,
    /// The value in the file.
    pub default: Value,
    /// The module that declares it.
    pub module: String,
}
