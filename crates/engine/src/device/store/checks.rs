//! Which variants have proved themselves, on this adapter and driver.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use foveal_kernels::AdapterProfile;
use serde::{Deserialize, Serialize};

use crate::device::gpu::lock;
use crate::device::store::files;
use crate::device::store::key::{VERSION, key};

/// The most passes a file holds; a file with more starts anew. Programs use tens of kernels, not thousands.
const LIMIT: usize = 4096;
const LIMIT_BYTES: u64 = 1 << 20;

/// Passed self-checks, by hash of the shaders' text.
#[derive(Debug)]
pub(crate) struct PassedChecks {
    path: Option<PathBuf>,
    adapter: String,
    passed: Mutex<BTreeSet<u128>>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    foveal: String,
    adapter: String,
    passed: Vec<String>,
}

impl PassedChecks {
    pub(crate) fn new(dir: Option<&Path>, profile: &AdapterProfile) -> Self {
        let path = dir.map(|dir| dir.join(format!("checks-{:032x}.json", key(profile, ""))));
        let checks = Self { path, adapter: profile.key(), passed: Mutex::default() };
        *lock(&checks.passed) = checks.load();
        checks
    }

    pub(crate) fn contains(&self, key: u128) -> bool {
        lock(&self.passed).contains(&key)
    }

    /// Remembers a pass, together with those that other processes have written meanwhile.
    pub(crate) fn insert(&self, key: u128) {
        let mut passed = lock(&self.passed);
        if !passed.insert(key) {
            return;
        }
        let Some(path) = &self.path else { return };
        passed.extend(self.load());
        if passed.len() > LIMIT {
            *passed = BTreeSet::from([key]);
        }
        let content = Content {
            foveal: VERSION.to_owned(),
            adapter: self.adapter.clone(),
            passed: passed.iter().map(|key| format!("{key:032x}")).collect(),
        };
        match serde_json::to_vec_pretty(&content) {
            Ok(bytes) => files::write(path, &[&bytes]),
            Err(error) => log::debug!("passed self-checks cannot be written: {error}"),
        }
    }

    /// The file's content, or nothing if it is damaged or another's.
    fn load(&self) -> BTreeSet<u128> {
        let read = || {
            let bytes = files::read(self.path.as_deref()?, LIMIT_BYTES)?;
            let content: Content = serde_json::from_slice(&bytes)
                .map_err(|error| {
                    log::debug!("the file of passed self-checks is damaged and ignored: {error}");
                })
                .ok()?;
            if content.foveal != VERSION || content.adapter != self.adapter || content.passed.len() > LIMIT {
                return None;
            }
            content.passed.iter().map(|key| u128::from_str_radix(key, 16).ok()).collect()
        };
        read().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_remembered_and_damage_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let profile = AdapterProfile::webgpu_floor();
        let checks = PassedChecks::new(Some(dir.path()), &profile);
        let other = PassedChecks::new(Some(dir.path()), &profile);
        checks.insert(1);
        other.insert(u128::MAX);
        let again = PassedChecks::new(Some(dir.path()), &profile);
        assert!(again.contains(1) && again.contains(u128::MAX) && !again.contains(2));

        let elsewhere = AdapterProfile { driver: "newer".into(), ..profile.clone() };
        assert!(!PassedChecks::new(Some(dir.path()), &elsewhere).contains(1), "a driver update forgets");

        let path = again.path.as_ref().unwrap();
        let good = std::fs::read(path).unwrap();
        std::fs::copy(path, PassedChecks::new(Some(dir.path()), &elsewhere).path.unwrap()).unwrap();
        assert!(
            !PassedChecks::new(Some(dir.path()), &elsewhere).contains(1),
            "another adapter's file is no proof"
        );
        for bad in
            [&good[..good.len() / 2], b"", b"{}", b"\xff\xfe", br#"{"foveal":1,"adapter":2,"passed":[3]}"#]
        {
            std::fs::write(path, bad).unwrap();
            let checks = PassedChecks::new(Some(dir.path()), &profile);
            assert!(!checks.contains(1));
            checks.insert(7);
            assert!(PassedChecks::new(Some(dir.path()), &profile).contains(7), "a damaged file is replaced");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn nothing_fails_without_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for dir in [None, Some(file.as_path())] {
            let checks = PassedChecks::new(dir, &AdapterProfile::webgpu_floor());
            checks.insert(1);
            assert!(checks.contains(1));
        }
    }
}
