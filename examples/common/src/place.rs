//! Where a picture goes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use tempfile::NamedTempFile;

use crate::Failure;

/// A file to be, beside the name that it gets once it is whole.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    file: NamedTempFile,
}

impl Place {
    /// Found before anything is computed: a path that cannot be written to is not worth the wait.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the path.
    pub fn find(path: &Path) -> Result<Self, Failure> {
        if path.is_dir() {
            return Err(Failure::usage(path.display(), "is a directory, expected a file"));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = temporary().tempfile_in(folder.unwrap_or(Path::new("."))).map_err(|error| {
            Failure::usage(path.display(), format!("its folder cannot be written to: {}", error.kind()))
        })?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes a picture as PNG and gives it its name. Returns the bytes written.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the path.
    pub fn write(mut self, picture: &RgbImage) -> Result<usize, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::usage(self.path.display(), error);
        let mut bytes = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive);
        picture.write_with_encoder(encoder).map_err(|error| failed(&error))?;
        self.file.write_all(&bytes).map_err(|error| failed(&error))?;
        self.file.persist(&self.path).map_err(|error| failed(&error.error))?;
        Ok(bytes.len())
    }
}

/// Temporary files are private; what gets a name of the user's is as other files are there.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".foveal-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_appears_under_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let place = Place::find(&path).unwrap();
        assert!(!path.exists());
        let rgb = [255, 0, 0, 0, 0, 255];
        place.write(&RgbImage::from_raw(2, 1, rgb.to_vec()).unwrap()).unwrap();
        let read = image::open(&path).unwrap().into_rgb8();
        assert_eq!((read.width(), read.height(), read.into_raw()), (2, 1, rgb.to_vec()));
    }

    #[test]
    fn places_that_cannot_be_are_usage_errors() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("none/picture.png")] {
            assert!(matches!(Place::find(&path), Err(Failure::Usage(_))));
        }
    }
}
