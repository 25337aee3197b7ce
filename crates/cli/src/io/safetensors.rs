//! `.safetensors` files.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use anyhow::Result;
use foveal_kernels::{HostTensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::TensorFile;
use super::bytes::{self, Element};
use crate::failure::usage;

/// The length of the header comes first, in eight bytes.
const LENGTH_BYTES: usize = 8;

/// The tensors and strings of a file's bytes.
pub(super) fn parse(file: &[u8]) -> Result<TensorFile> {
    let data_len = check_header(file)?;
    let view =
        SafeTensors::deserialize(file).map_err(|error| usage(format!("not a safetensors file: {error}")))?;
    let (_, header) = SafeTensors::read_metadata(file).map_err(|error| usage(error.to_string()))?;
    let metadata: BTreeMap<String, String> =
        header.metadata().clone().unwrap_or_default().into_iter().collect();
    let mut tensors = BTreeMap::new();
    for (name, tensor) in view.iter() {
        let element = element(tensor.dtype()).ok_or_else(|| {
            usage(format!(
                "tensor `{name}` is stored as {}, expected F32, F16, BF16, F64, I32, I64, U8 or BOOL",
                tensor.dtype()
            ))
        })?;
        debug_assert!(tensor.data().len() <= data_len);
        let tensor = bytes::tensor(tensor.shape().to_vec(), element, tensor.data())
            .map_err(|error| error.context(format!("tensor `{name}`")))?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(TensorFile { tensors, metadata })
}

/// Checks what the library's own messages do not name: which tensor claims what, and how much there is. Returns the bytes
/// of data behind the header.
fn check_header(file: &[u8]) -> Result<usize> {
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(usage(format!("truncated: {} bytes are too few for a safetensors file", file.len())));
    };
    let claimed = u64::from_le_bytes(*length);
    let header = usize::try_from(claimed).ok().and_then(|length| rest.get(..length)).ok_or_else(|| {
        usage(format!(
            "not a safetensors file, or truncated: its header claims {claimed} bytes and {} follow",
            rest.len()
        ))
    })?;
    let header_text =
        std::str::from_utf8(header).map_err(|error| usage(format!("the header is not UTF-8: {error}")))?;
    let entries: Entries = serde_json::from_str(header_text)
        .map_err(|error| usage(format!("the header is not the JSON of a safetensors file: {error}")))?;
    let data_len = rest.len() - header.len();
    for (name, entry) in &entries.0 {
        let [begin, end] = entry.data_offsets;
        if begin > end || end > data_len as u64 {
            return Err(usage(format!(
                "tensor `{name}` claims bytes {begin} to {end} of {data_len} that the file holds"
            )));
        }
    }
    // Overlaps would be caught by the library too, which names one of the two by chance.
    let mut order: Vec<&(String, Entry)> = entries.0.iter().collect();
    order.sort_by_key(|(_, entry)| entry.data_offsets);
    for pair in order.windows(2) {
        if pair[1].1.data_offsets[0] < pair[0].1.data_offsets[1] {
            return Err(usage(format!("tensors `{}` and `{}` overlap", pair[0].0, pair[1].0)));
        }
    }
    Ok(data_len)
}

#[derive(Clone, Copy, Debug, serde::Deserialize)]
struct Entry {
    data_offsets: [u64; 2],
}

/// The header's tensors in the order of the text. A map would silently keep the last of two equal names.
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                let mut seen = std::collections::BTreeSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format_args!("`{name}` appears twice")));
                    }
                    if name == "__metadata__" {
                        map.next_value::<HashMap<String, String>>()?;
                    } else {
                        entries.push((name, map.next_value()?));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::Bf16,
        Dtype::F64 => Element::F64,
        Dtype::I32 => Element::I32,
        Dtype::I64 => Element::I64,
        Dtype::U8 => Element::U8,
        Dtype::BOOL => Element::Bool,
        _ => return None,
    })
}

/// A file's bytes; the same tensors and options always give the same bytes.
pub(super) fn serialise(tensors: &[(&str, &HostTensor)], options: &str) -> Result<Vec<u8>> {
    let payload: Vec<(&str, Dtype, Vec<u8>, &HostTensor)> = tensors
        .iter()
        .map(|&(name, tensor)| {
            let dtype = match tensor.data() {
                TensorData::F32(_) => Dtype::F32,
                TensorData::F16(_) => Dtype::F16,
                TensorData::Bf16(_) => Dtype::BF16,
                TensorData::F64(_) => Dtype::F64,
                TensorData::I32(_) => Dtype::I32,
                TensorData::I64(_) => Dtype::I64,
                TensorData::U8(_) => Dtype::U8,
            };
            (name, dtype, bytes::to_bytes(tensor), tensor)
        })
        .collect();
    let mut views = Vec::with_capacity(payload.len());
    for (name, dtype, bytes, tensor) in &payload {
        views.push((*name, TensorView::new(*dtype, tensor.shape().to_vec(), bytes)?));
    }
    // One entry only: the order of a hash map's entries changes from run to run.
    let metadata = HashMap::from([("foveal".to_owned(), options.to_owned())]);
    Ok(safetensors::serialize(views, Some(metadata))?)
}
