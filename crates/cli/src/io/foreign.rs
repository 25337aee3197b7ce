//! Files of other formats: what they are, and how their tensors become readable here.

use std::path::Path;

use super::source::FileBytes;
use crate::failure::usage;

/// The error for a file that is known to be something else.
pub(super) fn refuse(path: &Path, source: &FileBytes) -> Option<anyhow::Error> {
    let count = usize::try_from(source.size()).unwrap_or(usize::MAX).min(256);
    let head = source.bytes(0, count).ok()?;
    // A header of 640 bytes begins as a pickle does.
    if head.get(4..9).is_some_and(|bytes| bytes == b"\0\0\0\0{") {
        return None;
    }
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let torch = || {
        format!(
            "it is a file of torch.save, expected a .safetensors file: python -c \"import torch; from safetensors.torch \
             import save_file; save_file({{n: t.contiguous() for n, t in torch.load('{name}').items()}}, \
             '{stem}.safetensors')\" converts a dict of tensors"
        )
    };
    let numpy = || {
        format!(
            "it is an archive of numpy.savez, expected a .safetensors file: python -c \"import numpy; from safetensors.numpy \
             import save_file; save_file({{n: numpy.ascontiguousarray(a) for n, a in numpy.load('{name}').items()}}, \
             '{stem}.safetensors')\" converts it, and unzip gives a directory of .npy files, which can be read too"
        )
    };
    let other =
        |what: &str| format!("it is {what}, expected a .safetensors file or a directory of .npy files");
    let message = if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        // The first entry's name: its length is two bytes at 26.
        let first = head.get(26..28).map_or(0, |two| usize::from(two[0]) + 256 * usize::from(two[1]));
        let first = head.get(30..).and_then(|rest| rest.get(..first.min(rest.len()))).unwrap_or_default();
        if first.ends_with(b".npy") || extension == "npz" {
            numpy()
        } else if first.ends_with(b"data.pkl") || ["pt", "pth", "bin", "ckpt"].contains(&extension.as_str()) {
            torch()
        } else {
            other("a zip archive")
        }
    } else if matches!(head.get(..2), Some([0x80, 2..=5])) {
        if ["pkl", "pickle"].contains(&extension.as_str()) { other("a pickle of Python's") } else { torch() }
    } else if head.starts_with(b"\x89HDF\r\n\x1a\n") {
        other("an HDF5 file")
    } else if head.starts_with(b"GGUF") {
        other("a GGUF file")
    } else if head.starts_with(&[0x1f, 0x8b]) {
        other("compressed by gzip")
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        other("compressed by zstd")
    } else if head.starts_with(b"version https://git-lfs") {
        other("a pointer of Git LFS, not the file itself (git lfs pull fetches it)")
    } else if extension == "onnx" {
        other("an ONNX model")
    } else {
        return None;
    };
    Some(usage(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_formats_are_named_with_the_way_out() {
        let zip = |name: &str| {
            let mut zip = b"PK\x03\x04".to_vec();
            zip.resize(26, 0);
            zip.extend([u8::try_from(name.len()).unwrap(), 0, 0, 0]);
            zip.extend(name.as_bytes());
            zip
        };
        for (name, bytes, expected) in [
            ("x.npz", zip("q.npy"), "numpy.savez"),
            ("x.safetensors", zip("q.npy"), "numpy.load('x.safetensors')"),
            ("x.pt", zip("x/data.pkl"), "torch.load('x.pt')"),
            ("x.bin", zip("x/version"), "torch.save"),
            ("x.zip", zip("x.txt"), "a zip archive"),
            ("x.pt", b"\x80\x02\x8a\x0al\xfc\x9cF".to_vec(), "torch.save"),
            ("x.gguf", b"GGUF\x03\0\0\0".to_vec(), "GGUF"),
            ("x.safetensors", b"version https://git-lfs.github.com/spec/v1".to_vec(), "git lfs pull"),
        ] {
            let error = refuse(Path::new(name), &FileBytes::of(&bytes)).unwrap().to_string();
            assert!(error.contains(expected) && error.contains("expected a .safetensors file"), "{error}");
        }
        let header = [&640u64.to_le_bytes()[..], b"{"].concat();
        for bytes in [&b""[..], b"PK", b"PK\x03\x04", b"\x80", &header, b"\x93NUMPY"] {
            let error = refuse(Path::new("x.safetensors"), &FileBytes::of(bytes));
            assert_eq!(error.is_some(), bytes.len() == 4, "{bytes:?}");
        }
    }
}
