//! Directories of `.npy` files, one a tensor.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use foveal_kernels::{HostTensor, TensorData};
use npyz::{DType, NpyFile, Order, TypeChar};

use super::foreign;
use super::source::FileBytes;
use super::stored::{Element, Kind, Stored};
use super::tensor_file::{OPTIONS_FILE, TensorFile, entries_with};
use super::write::{write_all, write_elements};
use crate::failure::usage;

/// Longer headers than this do not come from an array of numbers, and deeper nesting than an array's shape needs would be
/// recursion in the parser.
const MAX_HEADER_BYTES: usize = 4096;
const MAX_BRACKETS: usize = 8;
/// The header, and magic, version and length before it.
const MAX_PREAMBLE_BYTES: usize = MAX_HEADER_BYTES + 12;
/// Options are a few lines.
const MAX_OPTIONS_BYTES: u64 = 1 << 24;

/// Every `.npy` file of a directory, named by its stem; `foveal.json` holds the options.
pub(super) fn read_directory(path: &Path) -> Result<TensorFile> {
    let mut file = TensorFile::default();
    for entry in entries_with(path, "npy")? {
        let (name, tensor) = read_named(&entry)?;
        file.tensors.insert(name, tensor);
    }
    if file.tensors.is_empty() {
        let other = !entries_with(path, "safetensors")?.is_empty();
        let hint = if other { "; a .safetensors file is given by its own name" } else { "" };
        return Err(usage(format!("the directory holds no .npy file{hint}")));
    }
    let options = path.join(OPTIONS_FILE);
    if std::fs::metadata(&options).is_ok() {
        let named = |error: anyhow::Error| error.context(OPTIONS_FILE);
        let source = FileBytes::open(&options).map_err(named)?;
        if source.size() > MAX_OPTIONS_BYTES {
            let message = format!("expected at most {MAX_OPTIONS_BYTES} bytes, got {}", source.size());
            return Err(named(usage(message)));
        }
        let text = String::from_utf8(source.all().map_err(named)?);
        file.metadata.insert("foveal".into(), text.map_err(|_| named(usage("it is not UTF-8")))?);
    }
    Ok(file)
}

/// One `.npy` file as a tensor named by its stem.
pub(super) fn read_single(path: &Path, source: &Arc<FileBytes>) -> Result<TensorFile> {
    Ok(TensorFile { tensors: [(stem(path)?, parse(source)?)].into(), ..TensorFile::default() })
}

fn stem(path: &Path) -> Result<String> {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_str()
        .map(str::to_owned)
        .ok_or_else(|| usage(format!("{}: its name is not UTF-8", path.display())))
}

fn read_named(path: &Path) -> Result<(String, Stored)> {
    let name = stem(path)?;
    let read = || {
        let source = FileBytes::open(path)?;
        foreign::refuse(path, &source).map_or_else(|| parse(&source), Err)
    };
    let tensor = read().map_err(|error| error.context(format!("{name}.npy")))?;
    Ok((name, tensor))
}

/// The tensor of a file, of which the header is read.
pub(super) fn parse(source: &Arc<FileBytes>) -> Result<Stored> {
    let count = usize::try_from(source.size()).unwrap_or(usize::MAX).min(MAX_PREAMBLE_BYTES);
    let head = source.bytes(0, count)?;
    check_preamble(&head, source.size())?;
    let mut rest = head.as_slice();
    let header = NpyFile::new(&mut rest)
        .map_err(|error| usage(format!("not an .npy file: {error}")))?
        .header()
        .clone();
    let at = (head.len() - rest.len()) as u64;
    let shape: Vec<usize> = header
        .shape()
        .iter()
        .map(|&size| usize::try_from(size).map_err(|_| usage(format!("a dimension of {size} is too large"))))
        .collect::<Result<_>>()?;
    let (kind, big_endian) = element(&header.dtype());
    // Elements of an unknown type take a byte at least, as all of this format do.
    let size = kind.as_ref().map_or(1, |element| element.size_bytes());
    let need = shape.iter().try_fold(size as u64, |n, &size| n.checked_mul(size as u64));
    let need = need.ok_or_else(|| usage(format!("shape {shape:?} overflows")))?;
    let follow = source.size() - at;
    if need > follow {
        return Err(usage(format!("shape {shape:?} needs {need} bytes of data and {follow} follow")));
    }
    let fortran = header.order() == Order::Fortran;
    Ok(Stored { source: Arc::clone(source), at, shape, kind, big_endian, fortran })
}

/// Checks the claims that the library would act on before it looks at them.
fn check_preamble(file: &[u8], size: u64) -> Result<()> {
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
    if length > MAX_HEADER_BYTES {
        return Err(usage(format!("its header claims {length} bytes, at most {MAX_HEADER_BYTES} are read")));
    }
    let text = body.get(..length).ok_or_else(|| {
        let follow = size - (file.len() - body.len()) as u64;
        usage(format!("truncated: its header claims {length} bytes and {follow} follow"))
    })?;
    if text.iter().filter(|byte| b"([{".contains(byte)).count() > MAX_BRACKETS {
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

/// The element type, or why it cannot be read, and whether its bytes are big endian.
fn element(dtype: &DType) -> (Kind, bool) {
    let refuse = |more: &str| {
        let descr = dtype.descr();
        (
            Err(format!("its elements are of type {descr}, expected f2, f4, f8, i1, i4, i8, u1 or b1{more}")),
            false,
        )
    };
    let DType::Plain(plain) = dtype else { return refuse("") };
    let element = match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 2) => Element::F16,
        (TypeChar::Float, 4) => Element::F32,
        (TypeChar::Float, 8) => Element::F64,
        (TypeChar::Int, 4) => Element::I32,
        (TypeChar::Int, 8) => Element::I64,
        (TypeChar::Uint, 1) => Element::U8,
        (TypeChar::Int, 1) => Element::I8,
        (TypeChar::Bool, 1) => Element::Bool,
        // The form of ml_dtypes' bfloat16, and of other elements of two bytes without a name.
        (TypeChar::RawData, 2) => {
            return refuse(
                "; if they are bf16, for which NumPy has no name: save them as f4 (x.astype(numpy.float32), which is exact) \
                 and give --dtype bf16, or take a .safetensors file",
            );
        }
        _ => return refuse(""),
    };
    (Ok(element), plain.endianness() == npyz::Endianness::Big)
}

/// Writes a file. NumPy has no bf16: such a tensor is widened to f32, which is exact.
pub(super) fn write(out: &mut dyn Write, tensor: &HostTensor) -> std::io::Result<()> {
    let descr = match tensor.data() {
        TensorData::F32(_) | TensorData::Bf16(_) => "<f4",
        TensorData::F16(_) => "<f2",
        TensorData::F64(_) => "<f8",
        TensorData::I32(_) => "<i4",
        TensorData::I64(_) => "<i8",
        TensorData::U8(_) => "|u1",
        TensorData::I8(_) => "|i1",
    };
    let sizes: Vec<String> = tensor.shape().iter().map(|size| format!("{size},")).collect();
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}", sizes.join(" "));
    // Behind magic, version and length (10 bytes), the data begins at a multiple of 64, as NumPy has it.
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(std::io::Error::other)?;
    out.write_all(b"\x93NUMPY\x01\x00")?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    match tensor.data() {
        TensorData::Bf16(values) => write_all(out, values, |value| value.to_f32().to_le_bytes()),
        _ => write_elements(out, tensor),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(file: &[u8]) -> Result<HostTensor> {
        super::parse(&FileBytes::of(file))?.load(None)
    }

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
            let mut file = Vec::new();
            write(&mut file, &tensor).unwrap();
            assert_eq!(parse(&file).unwrap(), tensor);
            // As the library reads it.
            let library = NpyFile::new(&file[..]).unwrap();
            assert_eq!((library.shape(), library.order()), (&[2, 3][..], Order::C));
        }
        let halves = values.map(half::bf16::from_f32);
        let mut file = Vec::new();
        write(&mut file, &HostTensor::new(vec![6], TensorData::Bf16(halves.to_vec())).unwrap()).unwrap();
        assert_eq!(
            parse(&file).unwrap().data(),
            &TensorData::F32(values.to_vec()),
            "widened, which is exact"
        );
        write(&mut Vec::new(), &HostTensor::new(vec![], TensorData::F32(vec![1.0])).unwrap()).unwrap();
    }

    #[test]
    fn fortran_order_is_put_in_rows() {
        let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n";
        let tensor = parse(&file(header, &[1, 4, 2, 5, 3, 6])).unwrap();
        assert_eq!(tensor.data(), &TensorData::U8(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
    fn large_arrays_are_read_in_pieces_in_either_order() {
        // More than is read at a time, and not a multiple of it.
        let shape = [3, 101, 1009];
        let values: Vec<f64> = (0..3 * 101 * 1009).map(f64::from).collect();
        let mut written = Vec::new();
        write(&mut written, &HostTensor::new(shape.to_vec(), TensorData::F64(values.clone())).unwrap())
            .unwrap();
        let stored = |bytes: &[u8]| super::parse(&FileBytes::of(bytes)).unwrap();
        assert_eq!(stored(&written).load(None).unwrap().data(), &TensorData::F64(values.clone()));
        let single: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        let as_f32 = stored(&written).load(Some(foveal_kernels::Dtype::F32)).unwrap();
        assert_eq!(as_f32.data(), &TensorData::F32(single));
        let header = "{'descr': '>f8', 'fortran_order': True, 'shape': (3, 101, 1009), }\n".to_owned();
        let mut bytes = Vec::new();
        for k in 0..1009 {
            for j in 0..101 {
                for i in 0..3 {
                    bytes.extend(values[(i * 101 + j) * 1009 + k].to_be_bytes());
                }
            }
        }
        let turned = stored(&file(&header, &bytes)).load(None).unwrap();
        assert_eq!(turned.data(), &TensorData::F64(values));
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
    fn types_that_cannot_be_read_are_named_when_they_are() {
        let header = "{'descr': '<U8', 'fortran_order': False, 'shape': (1,), }\n";
        assert!(parse(&file(header, &[0; 32])).unwrap_err().to_string().contains("<U8"));
        let bf16 = "{'descr': '<V2', 'fortran_order': False, 'shape': (2, 2), }\n";
        let bf16 = super::parse(&FileBytes::of(&file(bf16, &[0; 8]))).unwrap();
        let error = bf16.load(None).unwrap_err().to_string();
        assert!(error.contains("bf16") && error.contains("--dtype bf16"), "{error}");
        assert_eq!(bf16.stand_in(None).unwrap().shape(), [2, 2]);
    }
}
