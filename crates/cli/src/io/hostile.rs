//! Files made to hurt: one clear error each, and never a panic.

use std::collections::BTreeMap;

use foveal_kernels::{HostTensor, TensorData};

use super::source::FileBytes;
use super::tensor_file::TensorFile;
use super::{npy, safetensors};

/// A file and all of its tensors, read.
fn parse(file: &[u8]) -> anyhow::Result<(TensorFile, BTreeMap<String, HostTensor>)> {
    let file = safetensors::parse(&FileBytes::of(file))?;
    let tensors = file.tensors.iter().map(|(name, stored)| Ok((name.clone(), stored.load(None)?)));
    let tensors = tensors.collect::<anyhow::Result<_>>()?;
    Ok((file, tensors))
}

fn tensors() -> BTreeMap<&'static str, HostTensor> {
    let values: Vec<f32> = (0u8..24).map(f32::from).collect();
    [
        ("q", HostTensor::new(vec![1, 2, 3, 4], TensorData::F32(values)).unwrap()),
        ("seg", HostTensor::new(vec![3], TensorData::I32(vec![0, 1, 2])).unwrap()),
        ("mask", HostTensor::new(vec![2, 2], TensorData::U8(vec![0, 1, 1, 0])).unwrap()),
    ]
    .into()
}

fn valid() -> Vec<u8> {
    let tensors = tensors();
    let list: Vec<(&str, &HostTensor)> = tensors.iter().map(|(name, tensor)| (&**name, tensor)).collect();
    let mut file = Vec::new();
    safetensors::write(&mut file, &list, r#"{"op":"attention","layout":"bhtd"}"#).unwrap();
    file
}

/// A file with this header and this much data.
fn with_header(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

fn refused(file: &[u8], expected: &str) {
    let error = crate::failure::one_line(&parse(file).unwrap_err());
    assert!(error.contains(expected), "expected `{expected}` in `{error}`");
}

#[test]
fn a_valid_file_is_read() {
    let (file, read) = parse(&valid()).unwrap();
    for (name, tensor) in tensors() {
        assert_eq!(read[name], tensor);
    }
    assert_eq!(file.options().unwrap().unwrap().text("layout"), Some("bhtd"));
}

#[test]
fn the_library_reads_what_is_written_and_the_other_way_round() {
    let valid = valid();
    let library = ::safetensors::SafeTensors::deserialize(&valid).unwrap();
    assert_eq!(library.names().len(), 3);
    for (name, tensor) in tensors() {
        let view = library.tensor(name).unwrap();
        assert_eq!(view.shape(), tensor.shape());
        let bytes = tensor.to_bytes(tensor.dtype().unwrap());
        assert_eq!(view.data(), &bytes[..view.data().len()], "{name}");
    }
    let (_, header) = ::safetensors::SafeTensors::read_metadata(&valid).unwrap();
    let options = &header.metadata().as_ref().unwrap()["foveal"];
    assert_eq!(options, r#"{"op":"attention","layout":"bhtd"}"#);
    let again = ::safetensors::serialize(library.tensors(), header.metadata().clone()).unwrap();
    assert_eq!(again, valid, "byte for byte what the library writes");
}

#[test]
fn a_type_that_is_not_known_concerns_its_tensor_only() {
    let header = r#"{"odd":{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]},
        "new":{"dtype":"F99","shape":[3],"data_offsets":[8,16]},
        "q":{"dtype":"F32","shape":[2],"data_offsets":[16,24]}}"#;
    let file = safetensors::parse(&FileBytes::of(&with_header(header, 24))).unwrap();
    assert_eq!(file.tensors["q"].load(None).unwrap().shape(), [2]);
    for (name, dtype) in [("odd", "F8_E4M3"), ("new", "F99")] {
        let error = file.tensors[name].load(None).unwrap_err().to_string();
        assert!(error.contains(dtype) && error.contains("expected F32"), "{error}");
        assert_eq!(file.tensors[name].stand_in(None).unwrap().shape(), file.tensors[name].shape());
    }
    // A stand-in takes no more than a file that there is.
    refused(
        &with_header(r#"{"q":{"dtype":"F99","shape":[1099511627776],"data_offsets":[0,16]}}"#, 16),
        "invalid shape",
    );
}

#[test]
fn each_lie_gets_its_own_error() {
    refused(b"", "truncated");
    refused(&[0xff; 40], "header claims 18446744073709551615 bytes");
    refused(&with_header("{\"\u{fffd}", 0), "not the JSON");
    refused(
        &{
            let mut f = 2u64.to_le_bytes().to_vec();
            f.extend([0xff, 0xfe]);
            f
        },
        "not UTF-8",
    );
    let one = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"q":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    refused(&with_header(&one("F32", "[4]", "[0,16]"), 8), "tensor `q` claims bytes 0 to 16 of 8");
    refused(&with_header(&one("F32", "[4]", "[16,0]"), 16), "claims bytes 16 to 0");
    refused(&with_header(&one("F32", "[4]", "[0,18446744073709551615]"), 16), "claims bytes");
    refused(&with_header(&one("F32", "[4294967296,4294967296,4]", "[0,16]"), 16), "overflow");
    refused(&with_header(&one("F32", "[5]", "[0,16]"), 16), "invalid shape");
    refused(&with_header(&one("I16", "[8]", "[0,16]"), 16), "stored as I16");
    refused(&with_header(&one("F99", "[8]", "[0,16]"), 16), "F99");
    refused(&with_header(&one("F32", "[-4]", "[0,16]"), 16), "-4");
    refused(&with_header(&one("F32", "[2]", "[0,8]"), 16), "not fully covered");
    let entry = r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#;
    refused(&with_header(&format!(r#"{{"a":{entry},"b":{entry}}}"#), 16), "overlap");
    refused(&with_header(&format!(r#"{{"a":{entry},"a":{entry}}}"#), 16), "appears twice");
    refused(&with_header(&"[".repeat(100_000), 0), "not the JSON");
    refused(&with_header("[]", 0), "expected an object");
    refused(&with_header(r#"{"__metadata__":{"foveal":1}}"#, 0), "expected a string");
}

#[test]
fn options_that_are_not_an_object_are_refused() {
    for (text, expected) in [("[1]", "an array"), ("{", "not JSON"), ("7", "a number")] {
        let header = format!(r#"{{"__metadata__":{{"foveal":{}}}}}"#, serde_json::to_string(text).unwrap());
        let (file, _) = parse(&with_header(&header, 0)).unwrap();
        assert!(file.options().unwrap_err().to_string().contains(expected));
    }
}

/// Changes a few bytes, cuts or stretches.
fn damage(file: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..random.usize(1..6) {
        match random.u8(0..10) {
            0 => file.truncate(random.usize(..=file.len())),
            1 => file.extend(std::iter::repeat_with(|| random.u8(..)).take(9).collect::<Vec<_>>()),
            2 if !file.is_empty() => {
                let at = random.usize(..file.len());
                file.remove(at);
            }
            3 if file.len() > 200 => file[random.usize(8..200)] = random.u8(b'0'..=b'9'),
            _ if !file.is_empty() => {
                let at = random.usize(..file.len());
                file[at] = random.u8(..);
            }
            _ => {}
        }
    }
    file
}

#[test]
fn damaged_safetensors_never_panic() {
    let valid = valid();
    let mut random = fastrand::Rng::with_seed(1);
    let mut readable = 0;
    for _ in 0..10_000 {
        if let Ok((file, _)) = parse(&damage(&valid, &mut random)) {
            readable += 1;
            let _ = file.options();
        }
    }
    assert!(readable > 100, "damage to the data alone leaves a readable file: {readable}");
}

#[test]
fn damaged_npy_never_panics() {
    let mut random = fastrand::Rng::with_seed(2);
    for tensor in tensors().values() {
        let mut valid = Vec::new();
        npy::write(&mut valid, tensor).unwrap();
        for _ in 0..10_000 {
            if let Ok(stored) = npy::parse(&FileBytes::of(&damage(&valid, &mut random))) {
                let _ = stored.load(None);
            }
        }
    }
}
