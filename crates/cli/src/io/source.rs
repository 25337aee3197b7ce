//! Where the bytes of tensors lie: they are read when they are needed, and held once.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::failure::usage;

/// A file that stays open, or bytes that are at hand.
#[derive(Debug)]
pub(super) struct FileBytes {
    bytes: Bytes,
    size: u64,
}

#[derive(Debug)]
enum Bytes {
    File(File),
    Held(&'static [u8]),
    #[cfg(test)]
    Owned(Vec<u8>),
}

impl FileBytes {
    /// Opens a regular file: a pipe would be waited on for ever, and a device has no size.
    pub(super) fn open(path: &Path) -> Result<Arc<Self>> {
        let failed = |error: std::io::Error| usage(error.to_string());
        let no_file = || usage("expected a .safetensors file or a directory of .npy files, got neither");
        // Before it is opened, because opening alone can have effects on a device; and after, because it may have changed.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(no_file());
        }
        let mut options = File::options();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
        }
        let file = options.open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(no_file());
        }
        Ok(Arc::new(Self { bytes: Bytes::File(file), size: about.len() }))
    }

    /// Bytes of the program itself.
    pub(super) fn held(bytes: &'static [u8]) -> Arc<Self> {
        Arc::new(Self { bytes: Bytes::Held(bytes), size: bytes.len() as u64 })
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self { bytes: Bytes::Owned(bytes.to_vec()), size: bytes.len() as u64 })
    }

    /// How many bytes there are; of a file, when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Fills `into` with the bytes from `at` on.
    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let held = match &self.bytes {
            Bytes::File(file) => {
                let mut file = file;
                let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(into));
                return read.map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => usage("it became shorter while it was read"),
                    _ => anyhow::Error::new(error),
                });
            }
            Bytes::Held(bytes) => *bytes,
            #[cfg(test)]
            Bytes::Owned(bytes) => bytes.as_slice(),
        };
        let from = usize::try_from(at).ok().and_then(|at| held.get(at..)?.get(..into.len()));
        into.copy_from_slice(from.ok_or_else(|| usage("truncated"))?);
        Ok(())
    }

    /// The `count` bytes from `at` on. Callers check `count` against what there is, so memory is asked for by what is there and
    /// not by a claim.
    pub(super) fn bytes(&self, at: u64, count: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count).map_err(|_| does_not_fit(count as u64))?;
        bytes.resize(count, 0);
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// All of it.
    pub(super) fn all(&self) -> Result<Vec<u8>> {
        let count = usize::try_from(self.size).map_err(|_| does_not_fit(self.size))?;
        self.bytes(0, count)
    }
}

/// The error of a lack of memory for so many bytes.
pub(super) fn does_not_fit(bytes: u64) -> anyhow::Error {
    usage(format!("its {} do not fit into memory", crate::ui::bytes(bytes)))
}
