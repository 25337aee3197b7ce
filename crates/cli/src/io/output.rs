//! Outputs, written beside their place and then put there in one step: a reader sees the earlier outputs or these, never some
//! of each, and a run that fails or is stopped leaves nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use foveal_kernels::HostTensor;
use serde_json::Value;

use super::pending::Pending;
use super::place::{self, OutputPath};
use super::tensor_file::{OPTIONS_FILE, WROTE};
use super::{npy, safetensors};
use crate::failure::usage;

/// A place that can be written to, found out before anything is computed.
#[derive(Debug)]
pub(crate) enum Output {
    /// A `.safetensors` file.
    File(OutputPath),
    /// A directory of `.npy` files.
    Directory(Directory),
}

/// A place for a directory.
#[derive(Debug)]
pub(crate) struct Directory {
    given: PathBuf,
    path: PathBuf,
}

impl Output {
    /// Prepares to write to `path`: a `.safetensors` file, or a directory of `.npy` files if it has no extension. None of the
    /// `inputs` may be replaced by that. A directory is replaced whole, so one that is there already has to be empty or to hold
    /// what an earlier run wrote and nothing else.
    pub(crate) fn prepare(path: &Path, inputs: &[PathBuf]) -> Result<Self> {
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            return Ok(Self::File(OutputPath::prepare(path, inputs)?));
        }
        let resolved = place::resolve(path)?;
        let about = fs::metadata(&resolved).ok();
        if about.as_ref().is_some_and(|about| !about.is_dir() && !about.is_file()) {
            return Err(place::no_file(path));
        }
        place::spare(path, &resolved, inputs)?;
        let there = about.as_ref().is_some_and(fs::Metadata::is_dir);
        if !there && (about.is_some() || path.extension().is_some()) {
            return Err(usage(format!(
                "{}: expected a name that ends in .safetensors, or a directory for .npy files",
                path.display()
            )));
        }
        let parent = place::parent(path, &resolved)?;
        if there {
            check_replaceable(path, &resolved, parent)?;
        }
        // Dropped at once: only whether it can be made is of interest.
        place::builder(0o777).tempdir_in(parent).map_err(|error| place::denied(path, &error))?;
        Ok(Self::Directory(Directory { given: path.to_owned(), path: resolved }))
    }

    /// Writes the tensors and the options of the run that made them, a JSON object.
    pub(crate) fn write(&self, tensors: &[(&str, &HostTensor)], options: &str) -> Result<()> {
        match self {
            Self::File(place) => place.write(|out| safetensors::write(out, tensors, options)),
            Self::Directory(directory) => {
                let shown = || directory.given.display().to_string();
                directory.write(tensors, options).with_context(shown)
            }
        }
    }
}

impl Directory {
    fn write(&self, tensors: &[(&str, &HostTensor)], options: &str) -> Result<()> {
        let parent = place::parent(&self.given, &self.path)?;
        let new = place::builder(0o777).tempdir_in(parent)?;
        let pending = Pending::new(new.path());
        let file = |name: &str, write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>| {
            let mut out = BufWriter::with_capacity(1 << 18, fs::File::create_new(new.path().join(name))?);
            write(&mut out)?;
            out.flush()?;
            out.get_ref().sync_all()
        };
        let mut about: Value = serde_json::from_str(options)?;
        if let Value::Object(about) = &mut about {
            about.insert(WROTE.into(), tensors.iter().map(|(name, _)| *name).collect());
        }
        file(OPTIONS_FILE, &mut |out| out.write_all(about.to_string().as_bytes()))?;
        for (name, tensor) in tensors {
            file(&format!("{name}.npy"), &mut |out| npy::write(out, tensor))?;
        }
        if let Ok(old) = fs::metadata(&self.path) {
            fs::set_permissions(new.path(), old.permissions())?;
        }
        if !put(new.path(), &self.path)? {
            // Renamed, the directory must not be deleted when its handle goes.
            let _ = new.keep();
            return Ok(());
        }
        // Now the earlier directory is there, and goes with its handle. Files that others added to it meanwhile are
        // kept, even if a signal comes.
        drop(pending);
        if foreign(new.path()).is_some() {
            let kept = new.keep();
            return Err(anyhow::anyhow!(
                "files that no run wrote were added to it meanwhile: they are in {}",
                kept.display()
            ));
        }
        Ok(())
    }
}

/// Puts `new` in the place of `path`. Returns whether `new` is now what was there before.
fn put(new: &Path, path: &Path) -> io::Result<bool> {
    let mut last = io::Error::from(io::ErrorKind::DirectoryNotEmpty);
    // Other runs may put theirs there at any moment.
    for _ in 0..100 {
        let there = fs::symlink_metadata(path).is_ok();
        let done =
            if there { exchange(new, path).map(|()| true) } else { fs::rename(new, path).map(|()| false) };
        last = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let raced = match last.kind() {
            io::ErrorKind::NotFound => there,
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => true,
            _ => false,
        };
        if !raced {
            break;
        }
    }
    Err(last)
}

/// Exchanges two directories: in one step where the system can do that, else by way of a third place.
fn exchange(new: &Path, path: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE) {
            // Some file systems cannot.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            done => return done.map_err(io::Error::from),
        }
    }
    by_way_of(new, path)
}

/// For a moment nothing is at `path`.
fn by_way_of(new: &Path, path: &Path) -> io::Result<()> {
    let mut aside = new.as_os_str().to_owned();
    aside.push("-old");
    let aside = PathBuf::from(aside);
    fs::rename(path, &aside)?;
    if let Err(error) = fs::rename(new, path) {
        // Back, unless another run was quicker.
        let _ = fs::rename(&aside, path);
        return Err(error);
    }
    fs::rename(&aside, new)
}

/// Checks that a directory which is there may be replaced whole.
fn check_replaceable(given: &Path, path: &Path, parent: &Path) -> Result<()> {
    if std::env::current_dir().and_then(fs::canonicalize).is_ok_and(|here| here.starts_with(path)) {
        return Err(usage(format!(
            "{}: is the working directory or above it, expected a directory of its own for .npy files",
            given.display()
        )));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
        if device(path) != device(parent) {
            return Err(usage(format!(
                "{}: is where a file system is mounted and cannot be replaced, expected a directory in it",
                given.display()
            )));
        }
    }
    #[cfg(not(unix))]
    let _ = parent;
    // Another run may put its directory there between two looks at it.
    let mut found = foreign(path);
    for _ in 0..5 {
        if found.is_none() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        found = foreign(path);
    }
    match found {
        None => Ok(()),
        Some(name) => Err(usage(format!(
            "{}: holds `{name}`, which no run wrote; a directory is replaced whole, expected a new one, an empty one or one of \
             an earlier run",
            given.display()
        ))),
    }
}

/// Something in a directory that no run wrote there, if there is such.
fn foreign(path: &Path) -> Option<String> {
    let about = fs::read(path.join(OPTIONS_FILE)).ok();
    let about: Value = about.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let wrote: BTreeSet<String> = about
        .get(WROTE)
        .and_then(Value::as_array)
        .map(|names| {
            let files = names.iter().filter_map(Value::as_str).map(|name| format!("{name}.npy"));
            files.chain([OPTIONS_FILE.to_owned()]).collect()
        })
        .unwrap_or_default();
    let Ok(entries) = fs::read_dir(path) else { return Some(String::new()) };
    for entry in entries {
        let Ok(entry) = entry else { return Some(String::new()) };
        let name = entry.file_name().to_string_lossy().into_owned();
        let plain = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !plain || !wrote.contains(&name) {
            return Some(name);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use foveal_kernels::TensorData;

    use super::*;

    fn tensor(value: f32) -> HostTensor {
        HostTensor::new(vec![1, 2], TensorData::F32(vec![value, -2.0])).unwrap()
    }

    fn prepare(path: &Path) -> Result<Output> {
        Output::prepare(path, &[])
    }

    #[test]
    fn what_is_written_is_read_back() {
        let place = tempfile::tempdir().unwrap();
        for name in ["out.safetensors", "out"] {
            let path = place.path().join(name);
            // Twice: the second replaces the first.
            for _ in 0..2 {
                let output = prepare(&path).unwrap();
                output.write(&[("o", &tensor(1.0))], "{\"op\":\"attention\"}").unwrap();
                let file = crate::io::read(&path).unwrap();
                assert_eq!(file.tensors["o"].load(None).unwrap(), tensor(1.0));
                let options = file.options().unwrap().unwrap();
                assert_eq!((options.iter().count(), options.text("op")), (1, Some("attention")));
            }
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing temporary stays");
    }

    #[test]
    fn nothing_is_there_before_it_is_written() {
        let place = tempfile::tempdir().unwrap();
        let outputs = ["a.safetensors", "b"].map(|name| prepare(&place.path().join(name)).unwrap());
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        drop(outputs);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_is_replaced_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        prepare(&path).unwrap().write(&[("o", &tensor(1.0)), ("lse", &tensor(2.0))], "{}").unwrap();
        prepare(&path).unwrap().write(&[("o", &tensor(3.0))], "{}").unwrap();
        let file = crate::io::read(&path).unwrap();
        assert_eq!(file.tensors.keys().collect::<Vec<_>>(), ["o"], "no lse of another run");
        assert_eq!(file.tensors["o"].load(None).unwrap(), tensor(3.0));
        // By way of a third place too.
        let other = place.path().join("other");
        prepare(&other).unwrap().write(&[("o", &tensor(4.0))], "{}").unwrap();
        by_way_of(&other, &path).unwrap();
        let read = |path: &Path| crate::io::read(path).unwrap().tensors["o"].load(None).unwrap();
        assert_eq!((read(&path), read(&other)), (tensor(4.0), tensor(3.0)));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_of_somebody_elses_files_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("mine");
        fs::create_dir(&path).unwrap();
        prepare(&path).unwrap().write(&[("o", &tensor(1.0))], "{}").unwrap();
        for name in ["notes.txt", "q.npy", "lse.npy"] {
            fs::write(path.join(name), "x").unwrap();
            let error = prepare(&path).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("no run wrote"), "{error}");
            fs::remove_file(path.join(name)).unwrap();
        }
        fs::create_dir(path.join("more")).unwrap();
        assert!(prepare(&path).unwrap_err().to_string().contains("`more`"));
        fs::remove_dir(path.join("more")).unwrap();
        // Files added between the look and the writing are kept, and the error says where.
        let output = prepare(&path).unwrap();
        fs::write(path.join("late.txt"), "late").unwrap();
        let error = output.write(&[("o", &tensor(2.0))], "{}").unwrap_err();
        let kept = crate::failure::one_line(&error).rsplit_once(" in ").unwrap().1.to_owned();
        assert_eq!(fs::read_to_string(Path::new(&kept).join("late.txt")).unwrap(), "late");
        // Options that were written by hand for a run to read are no sign of one.
        let by_hand = place.path().join("by_hand");
        fs::create_dir(&by_hand).unwrap();
        fs::write(by_hand.join(OPTIONS_FILE), "{}").unwrap();
        assert!(prepare(&by_hand).unwrap_err().to_string().contains(OPTIONS_FILE));
    }

    #[test]
    fn many_at_once_leave_the_outputs_of_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("out");
        std::thread::scope(|scope| {
            for run in 0..4u8 {
                let path = &path;
                scope.spawn(move || {
                    for round in 0..25u8 {
                        let value = tensor(f32::from(25 * run + round));
                        let output = prepare(path).unwrap();
                        output.write(&[("o", &value), ("lse", &value)], "{}").unwrap();
                    }
                });
            }
        });
        let file = crate::io::read(&path).unwrap();
        let [o, lse] = ["o", "lse"].map(|name| file.tensors[name].load(None).unwrap());
        assert_eq!(o, lse, "of one run");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing temporary stays");
    }

    #[test]
    fn places_that_cannot_be_written_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        for path in [
            place.path().join("none/out.safetensors"),
            file.join("out.safetensors"),
            place.path().join("out.txt"),
            file.clone(),
            PathBuf::from("/"),
            PathBuf::from("."),
            PathBuf::from(".."),
            PathBuf::new(),
        ] {
            assert!(prepare(&path).is_err(), "{}", path.display());
        }
    }
}
