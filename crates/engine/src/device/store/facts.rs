//! Measurements of an adapter and driver.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use foveal_kernels::AdapterProfile;
use serde::{Deserialize, Serialize};

use crate::device::facts::known::Facts;
use crate::device::gpu::lock;
use crate::device::store::files;
use crate::device::store::key::{VERSION, key};

const LIMIT_BYTES: u64 = 1 << 16;

/// Facts by adapter and driver, for engines that this process opens later.
static MEASURED: Mutex<BTreeMap<String, Facts>> = Mutex::new(BTreeMap::new());

/// Facts of an engine's adapter, once they are known.
#[derive(Debug)]
pub(crate) struct KnownFacts {
    path: Option<PathBuf>,
    adapter: String,
    facts: OnceLock<Facts>,
}

#[derive(Serialize, Deserialize)]
struct Content {
    foveal: String,
    adapter: String,
    facts: Facts,
}

impl KnownFacts {
    /// Facts that this process or, by the file in `dir`, another one measured; none, if they are to be measured `again`.
    pub(crate) fn new(
        dir: Option<&Path>,
        profile: &AdapterProfile,
        matrix_side: Option<u32>,
        again: bool,
    ) -> Self {
        // Devices with matrices and without have facts of their own.
        let with = matrix_side.map_or_else(String::new, |side| format!("matrices of {side}"));
        let path = dir.map(|dir| dir.join(format!("adapter-{:032x}.json", key(profile, &with))));
        let adapter = if with.is_empty() { profile.key() } else { format!("{} | {with}", profile.key()) };
        let known = Self { path, adapter, facts: OnceLock::new() };
        if !again {
            let measured = lock(&MEASURED).get(&known.adapter).copied();
            if let Some(facts) = measured.or_else(|| known.load()) {
                let _ = known.facts.set(facts);
            }
        }
        known
    }

    pub(crate) fn get(&self) -> Option<Facts> {
        self.facts.get().copied()
    }

    /// Remembers what was measured; what another task measured at the same time is the same.
    pub(crate) fn set(&self, facts: Facts) {
        let _ = self.facts.set(facts);
        lock(&MEASURED).insert(self.adapter.clone(), facts);
        let Some(path) = &self.path else { return };
        let content = Content { foveal: VERSION.to_owned(), adapter: self.adapter.clone(), facts };
        match serde_json::to_vec_pretty(&content) {
            Ok(bytes) => files::write(path, &[&bytes]),
            Err(error) => log::debug!("what was measured of the adapter cannot be written: {error}"),
        }
    }

    /// Contents of the file, or nothing if it is damaged or another's.
    fn load(&self) -> Option<Facts> {
        let bytes = files::read(self.path.as_deref()?, LIMIT_BYTES)?;
        let content: Content = serde_json::from_slice(&bytes)
            .map_err(|error| {
                log::debug!("the file of what was measured of the adapter is damaged and ignored: {error}");
            })
            .ok()?;
        // Half of a bound would be enough to refuse every plan.
        let sound = content.facts.loop_turns.is_none_or(|turns| turns > 0);
        (content.foveal == VERSION && content.adapter == self.adapter && sound).then_some(content.facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile that no other test has: what one measures, others of the process know.
    fn profile(name: &str) -> AdapterProfile {
        AdapterProfile { name: name.into(), ..AdapterProfile::webgpu_floor() }
    }

    #[test]
    fn facts_are_remembered_by_adapter_and_driver() {
        let dir = tempfile::tempdir().unwrap();
        let (here, facts) = (profile("facts"), Facts { loop_turns: Some(65_319), maths: None, matrix: None });
        let known = KnownFacts::new(Some(dir.path()), &here, None, false);
        assert_eq!(known.get(), None);
        known.set(facts);
        assert_eq!(known.get(), Some(facts));
        assert_eq!(KnownFacts::new(None, &here, None, false).get(), Some(facts), "by the process");
        assert_eq!(KnownFacts::new(None, &here, None, true).get(), None, "to be measured again");
        lock(&MEASURED).remove(&here.key());
        assert_eq!(KnownFacts::new(None, &here, None, false).get(), None);
        assert_eq!(KnownFacts::new(Some(dir.path()), &here, None, false).get(), Some(facts), "by the file");

        let newer = AdapterProfile { driver: "newer".into(), ..here.clone() };
        let other = KnownFacts::new(Some(dir.path()), &newer, None, false);
        assert_eq!(other.get(), None, "a driver update forgets");
        std::fs::copy(known.path.as_ref().unwrap(), other.path.as_ref().unwrap()).unwrap();
        assert_eq!(
            KnownFacts::new(Some(dir.path()), &newer, None, false).get(),
            None,
            "another adapter's file"
        );
    }

    #[test]
    fn damaged_files_are_ignored_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let here = profile("damaged facts");
        let known = KnownFacts::new(Some(dir.path()), &here, None, false);
        known.set(Facts::default());
        let path = known.path.clone().unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let zero = good.replace("\"loop_turns\": null", "\"loop_turns\": 0");
        assert_ne!(good, zero);
        for bad in [&good[..good.len() / 2], "", "{}", "\u{feff}", &zero] {
            std::fs::write(&path, bad).unwrap();
            lock(&MEASURED).remove(&here.key());
            let again = KnownFacts::new(Some(dir.path()), &here, None, false);
            assert_eq!(again.get(), None, "{bad}");
            again.set(Facts::default());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), good);
        }
    }
}
