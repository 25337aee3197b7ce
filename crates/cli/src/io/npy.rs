//! Directories of `.npy` files, one a tensor.

use std::path::Path;

use anyhow::Result;
use foveal_kernels::{HostTensor, TensorData};
use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};

use super::bytes::{self, Element};
use super::{TensorFile, entries_with};
use crate::failure::usage;

/// Longer headers than this do not come from an array of numbers, and deeper nesting than an array's shape needs would be
/// recursion in the parser.
const MOST_HEADER_BYTES: usize = 4096;
const MOST_BRACKETS: usize = 8;

/// Every `.npy` file of a directory, named by its stem; `foveal.json` holds the options.
pub(super) fn read_directory(path: &Path) -> Result<TensorFile> {
    let mut file = TensorFile::default();
    for entry in entries_with(path, "npy")? {
        let (name, tensor) = read_named(&entry)?;
        file.tensors.insert(name, tensor);
    }
    if file.tensors.is_empty() {
        return Err(usage("the directory holds no .npy file"));
    }
    let options = path.join("foveal.json");
    if let Ok(about) = std::fs::metadata(&options)
        && about.is_file()
    {
        let text = String::from_utf8(bytes::read_file(&options, about.len())?)
            .map_err(|_| usage("foveal.json is not UTF-8"))?;
        file.metadata.insert("foveal".into(), text);
    }
    Ok(file)
}

/// One `.npy` file as a tensor named by its stem.
pub(super) fn read_single(path: &Path) -> Result<TensorFile> {
    let (name, tensor) = read_named(path)?;
    Ok(TensorFile { tensors: [(name, tensor)].into(), ..TensorFile::default() })
}

fn read_named(path: &Path) -> Result<(String, HostTensor)> {
    let stem = path.file_stem().unwrap_or_default();
    let name = stem.to_str().ok_or_else(|| usage(format!("{}: its name is not UTF-8", path.display())))?;
    let about = std::fs::metadata(path).map_err(|error| usage(format!("{name}.npy: {error}")))?;
    let tensor = bytes::read_file(path, about.len())
        .and_then(|file| parse(&file))
        .map_err(|error| error.context(format!("{name}.npy")))?;
    Ok((name.to_owned(), tensor))
}

/// The tensor of a file's bytes.
pub(super) fn parse(file: &[u8]) -> Result<HostTensor> {
    check_preamble(file)?;
    let mut rest = file;
    let header = NpyFile::new(&mut rest)
        .map_err(|error| usage(format!("not an .npy file: {error}")))?
        .header()
        .clone();
    let shape: Vec<usize> = header
        .shape()
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| usage(format!("a dimension of {size} is too large"))))
        .collect::<Result<_>>()?;
    let (element, big_endian) = element(&header.dtype())?;
    let need = shape
        .iter()
        .try_fold(element.size_bytes(), |n, &size| n.checked_mul(size))
        .ok_or_else(|| usage(format!("shape {shape:?} overflows")))?;
    let mut data = rest
        .get(..need)
        .ok_or_else(|| {
            usage(format!("shape {shape:?} needs {need} bytes of data and {} follow", rest.len()))
        })?
        .to_vec();
    if big_endian {
        data.chunks_exact_mut(element.size_bytes()).for_each(<[u8]>::reverse);
    }
    if header.order() == Order::Fortran {
        data = to_row_major(&data, &shape, element.size_bytes());
    }
    bytes::tensor(shape, element, &data)
}

/// Checks the claims that the library would act on before it looks at them.
fn check_preamble(file: &[u8]) -> Result<()> {
    let not_npy = || usage("not an .npy file: it does not begin with \\x93NUMPY and a version");
    let body = file.strip_prefix(b"\x93NUMPY").ok_or_else(not_npy)?;
    let (&major, body) = body.split_first().ok_or_else(not_npy)?;
    let (_, body) = body.split_first().ok_or_else(not_npy)?;
    let (length, body) = match major {
        1 => {
            let (length, body) = body.split_first_chunk::<2>().ok_or_else(not_npy)?;
            (usize::from(u16::from_le_bytes(*length)), body)
        }
        2 | 3 => {
            let (length, body) = body.split_first_chunk::<4>().ok_or_else(not_npy)?;
            (usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX), body)
        }
        _ => return Err(usage(format!("version {major} of the .npy format is unknown, expected 1 to 3"))),
    };
    if length > MOST_HEADER_BYTES {
        return Err(usage(format!("its header claims {length} bytes, at most {MOST_HEADER_BYTES} are read")));
    }
    let text = body.get(..length).ok_or_else(|| {
        usage(format!("truncated: its header claims {length} bytes and {} follow", body.len()))
    })?;
    if text.iter().filter(|byte| b"([{".contains(byte)).count() > MOST_BRACKETS {
        return Err(usage("its header nests deeper than an array of numbers does"));
    }
    check_sizes(&String::from_utf8_lossy(text))
}

/// Checks that the numbers of the header text could be multiplied: the library does so without looking.
fn check_sizes(text: &str) -> Result<()> {
    let unquoted: String = text.split(['\'', '"']).step_by(2).collect::<Vec<_>>().join(" ");
    let mut product = 1u64;
    for word in
        unquoted.split(|c: char| !(c.is_alphanumeric() || "_.+-".contains(c))).filter(|word| !word.is_empty())
    {
        if ["True", "False"].contains(&word) {
            continue;
        }
        let size: u64 = word.parse().map_err(|_| usage(format!("`{word}` in its header is not a size")))?;
        product =
            product.checked_mul(size.max(1)).ok_or_else(|| usage("the shape in its header overflows"))?;
    }
    Ok(())
}

/// The element type, and whether its bytes are big endian.
fn element(dtype: &DType) -> Result<(Element, bool)> {
    let refuse = || {
        usage(format!(
            "elements of type {} cannot be read, expected f2, f4, f8, i4, i8, u1 or b1",
            dtype.descr()
        ))
    };
    let DType::Plain(plain) = dtype else { return Err(refuse()) };
    let element = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 2) => Element::F16,
        (TypeChar::Float, 4) => Element::F32,
        (TypeChar::Float, 8) => Element::F64,
        (TypeChar::Int, 4) => Element::I32,
        (TypeChar::Int, 8) => Element::I64,
        (TypeChar::Uint, 1) => Element::U8,
        (TypeChar::Bool, 1) => Element::Bool,
        _ => return Err(refuse()),
    };
    Ok((element, plain.endianness() == npyz::Endianness::Big))
}

/// Elements whose first index runs fastest, put so that the last one does. `data` holds exactly `shape`.
fn to_row_major(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut index = vec![0; shape.len()];
    let mut ordered = Vec::with_capacity(data.len());
    for _ in 0..data.len() / size {
        let from: usize = index.iter().zip(&strides).map(|(i, stride)| i * stride).sum();
        ordered.extend_from_slice(&data[from * size..(from + 1) * size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    ordered
}

/// A file's bytes. NumPy has no bf16: such a tensor is widened to f32, which is exact.
pub(super) fn serialise(tensor: &HostTensor) -> Result<Vec<u8>> {
    let shape: Vec<u64> = tensor.shape().iter().map(|&size| size as u64).collect();
    Ok(match tensor.data() {
        TensorData::F32(x) => write(&shape, x.iter().copied())?,
        TensorData::F16(x) => write(&shape, x.iter().copied())?,
        TensorData::Bf16(x) => write(&shape, x.iter().map(|x| x.to_f32()))?,
        TensorData::F64(x) => write(&shape, x.iter().copied())?,
        TensorData::I32(x) => write(&shape, x.iter().copied())?,
        TensorData::I64(x) => write(&shape, x.iter().copied())?,
        TensorData::U8(x) => write(&shape, x.iter().copied())?,
    })
}

fn write<T: npyz::AutoSerialize>(shape: &[u64], values: impl Iterator<Item = T>) -> std::io::Result<Vec<u8>> {
    let mut file = Vec::new();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut file).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        file.extend(data);
        file
    }

    #[test]
    fn every_type_survives_a_round_trip() {
        let values = [1.5f32, -0.25, 3.0, f32::NEG_INFINITY, 0.0, 8.0];
        for data in [
            TensorData::F32(values.to_vec()),
            TensorData::F16(values.map(half::f16::from_f32).to_vec()),
            TensorData::F64(values.map(f64::from).to_vec()),
            TensorData::I32(vec![1, -2, 3, 4, 5, i32::MIN]),
            TensorData::I64(vec![1, -2, 3, 4, 5, i64::MAX]),
            TensorData::U8(vec![0, 1, 2, 3, 4, 255]),
        ] {
            let tensor = HostTensor::new(vec![2, 3], data).unwrap();
            assert_eq!(parse(&serialise(&tensor).unwrap()).unwrap(), tensor);
        }
    }

    #[test]
    fn fortran_order_is_put_in_rows() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n";
        let tensor = parse(&file(header, &[1, 4, 2, 5, 3, 6])).unwrap();
        assert_eq!(tensor.data(), &TensorData::U8(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn big_endian_is_swapped() {
        let header = "{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }\n";
        let tensor = parse(&file(header, &[0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff])).unwrap();
        assert_eq!(tensor.data(), &TensorData::I32(vec![7, -1]));
    }

    #[test]
    fn claims_beyond_the_file_are_refused_before_memory_is_asked_for() {
        let huge = "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n";
        assert!(parse(&file(huge, &[0; 16])).unwrap_err().to_string().contains("needs 4000000000000 bytes"));
        for shape in
            ["4294967296, 4294967296, 4294967296", "0, 99999999999, 99999999999", "0xffffffffff, 2", "-1, 2"]
        {
            let header = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': ({shape}), }}\n");
            assert!(parse(&file(&header, &[0; 16])).is_err(), "{shape}");
        }
        let mut long = b"\x93NUMPY\x02\x00".to_vec();
        long.extend(u32::MAX.to_le_bytes());
        assert!(parse(&long).unwrap_err().to_string().contains("claims 4294967295 bytes"));
        let deep = format!("{}{}", "(".repeat(4000), ")".repeat(50));
        assert!(parse(&file(&deep, &[])).unwrap_err().to_string().contains("nests deeper"));
    }

    #[test]
    fn types_that_are_not_numbers_are_named() {
        let header = "{'descr': '<U8', 'fortran_order': False, 'shape': (1,), }\n";
        assert!(parse(&file(header, &[0; 32])).unwrap_err().to_string().contains("<U8"));
    }
}
