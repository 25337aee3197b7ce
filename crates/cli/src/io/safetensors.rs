//! `.safetensors` files.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Result;
use foveal_kernels::{HostTensor, TensorData};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::source::FileBytes;
use super::stored::{Element, Kind, Stored};
use super::tensor_file::TensorFile;
use super::write::write_elements;
use crate::failure::usage;

/// The length of the header comes first, in eight bytes.
const LENGTH_BYTES: usize = 8;
/// The format's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The tensors and strings of a file. Nothing but the header is read; every claim of it is checked against the file's size.
pub(super) fn parse(source: &Arc<FileBytes>) -> Result<TensorFile> {
    let size = source.size();
    let Some(follow) = size.checked_sub(LENGTH_BYTES as u64) else {
        return Err(usage(format!("truncated: {size} bytes are too few for a safetensors file")));
    };
    let mut length = [0; LENGTH_BYTES];
    source.read(0, &mut length)?;
    let claimed = u64::from_le_bytes(length);
    let count = usize::try_from(claimed).ok().filter(|_| claimed <= follow).ok_or_else(|| {
        usage(format!(
            "not a safetensors file, or truncated: its header claims {claimed} bytes and {follow} follow"
        ))
    })?;
    if claimed > MAX_HEADER_BYTES {
        return Err(usage(format!(
            "its header claims {claimed} bytes, expected at most the format's {MAX_HEADER_BYTES}"
        )));
    }
    let header = source.bytes(LENGTH_BYTES as u64, count)?;
    let header =
        std::str::from_utf8(&header).map_err(|error| usage(format!("the header is not UTF-8: {error}")))?;
    let header: Header = serde_json::from_str(header)
        .map_err(|error| usage(format!("the header is not the JSON of a safetensors file: {error}")))?;
    check_places(&header.entries, follow - claimed)?;
    let start = LENGTH_BYTES as u64 + claimed;
    let mut tensors = BTreeMap::new();
    for (name, entry) in header.entries {
        let kind = check_size(&name, &entry)?;
        let stored = Stored {
            source: Arc::clone(source),
            at: start + entry.data_offsets[0],
            shape: entry.shape,
            kind,
            big_endian: false,
            fortran: false,
        };
        tensors.insert(name, stored);
    }
    Ok(TensorFile { tensors, metadata: header.metadata })
}

/// Tensors lie one behind the other and are all that lies behind the header.
fn check_places(entries: &[(String, Entry)], data: u64) -> Result<()> {
    for (name, entry) in entries {
        let [begin, end] = entry.data_offsets;
        if begin > end || end > data {
            return Err(usage(format!(
                "tensor `{name}` claims bytes {begin} to {end} of {data} that the file holds"
            )));
        }
    }
    let mut order: Vec<&(String, Entry)> = entries.iter().collect();
    order.sort_by_key(|(_, entry)| entry.data_offsets);
    let gap = |from: u64, to: u64| {
        usage(format!("the data is not fully covered: no tensor has the bytes {from} to {to} of {data}"))
    };
    let (mut last, mut end) = ("", 0);
    for (name, entry) in order {
        let [begin, next] = entry.data_offsets;
        if begin < end {
            return Err(usage(format!("tensors `{last}` and `{name}` overlap")));
        }
        if begin > end {
            return Err(gap(end, begin));
        }
        (last, end) = (name, next);
    }
    if end < data { Err(gap(end, data)) } else { Ok(()) }
}

/// Checks that the shape describes as many bytes as there are, as far as the type is known.
fn check_size(name: &str, entry: &Entry) -> Result<Kind> {
    let bytes = entry.data_offsets[1] - entry.data_offsets[0];
    let shape = &entry.shape;
    let count = shape.iter().try_fold(1u64, |n, &size| n.checked_mul(size as u64));
    let count = count.ok_or_else(|| usage(format!("tensor `{name}`: its shape {shape:?} overflows")))?;
    let kind = element(&entry.dtype).ok_or_else(|| {
        format!("it is stored as {}, expected F32, F16, BF16, F64, I32, I64, U8, I8 or BOOL", entry.dtype)
    });
    // Of types that are not known it is known that an element has a bit at least.
    let (min, max) = match kind {
        Ok(element) => {
            let need = count.checked_mul(element.size_bytes() as u64);
            (need, need)
        }
        Err(_) => (Some(count.div_ceil(8)), Some(u64::MAX)),
    };
    if min.is_none_or(|min| bytes < min) || max.is_none_or(|max| bytes > max) {
        return Err(usage(format!(
            "tensor `{name}`: invalid shape: {shape:?} of {} does not take the {bytes} bytes that it has",
            entry.dtype
        )));
    }
    Ok(kind)
}

#[derive(Debug, serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The header's tensors in the order of the text. A map would silently keep the last of two equal names.
struct Header {
    entries: Vec<(String, Entry)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { entries: Vec::new(), metadata: BTreeMap::new() };
                let mut seen = BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format_args!("`{name}` appears twice")));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value()?;
                    } else {
                        header.entries.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn element(dtype: &str) -> Option<Element> {
    Some(match dtype {
        "F32" => Element::F32,
        "F16" => Element::F16,
        "BF16" => Element::Bf16,
        "F64" => Element::F64,
        "I32" => Element::I32,
        "I64" => Element::I64,
        "U8" => Element::U8,
        "I8" => Element::I8,
        "BOOL" => Element::Bool,
        _ => return None,
    })
}

/// A type's name and the bytes of an element. Wide elements come first, so that all are aligned.
fn dtype(data: &TensorData) -> (&'static str, usize) {
    match data {
        TensorData::F32(_) => ("F32", 4),
        TensorData::F16(_) => ("F16", 2),
        TensorData::Bf16(_) => ("BF16", 2),
        TensorData::F64(_) => ("F64", 8),
        TensorData::I32(_) => ("I32", 4),
        TensorData::I64(_) => ("I64", 8),
        TensorData::U8(_) => ("U8", 1),
        TensorData::I8(_) => ("I8", 1),
    }
}

/// Writes a file; the same tensors and options always give the same bytes.
pub(super) fn write(out: &mut dyn Write, tensors: &[(&str, &HostTensor)], options: &str) -> io::Result<()> {
    let mut order: Vec<&(&str, &HostTensor)> = tensors.iter().collect();
    order.sort_by_key(|(name, tensor)| {
        let (dtype, size) = dtype(tensor.data());
        (std::cmp::Reverse(size), dtype, *name)
    });
    let text = |text: &str| serde_json::to_string(text).map_err(io::Error::from);
    let mut header = format!(r#"{{"__metadata__":{{"foveal":{}}}"#, text(options)?);
    let mut at = 0;
    for (name, tensor) in &order {
        let (dtype, size) = dtype(tensor.data());
        let end = at + tensor.len() * size;
        let shape = serde_json::to_string(tensor.shape()).map_err(io::Error::from)?;
        write!(
            header,
            r#",{}:{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{at},{end}]}}"#,
            text(name)?
        )
        .map_err(io::Error::other)?;
        at = end;
    }
    header.push('}');
    // The data begins at a multiple of eight bytes.
    while header.len() % LENGTH_BYTES != 0 {
        header.push(' ');
    }
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    order.iter().try_for_each(|(_, tensor)| write_elements(out, tensor))
}
