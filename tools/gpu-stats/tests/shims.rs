//! Every planned kernel on the compilers of four makers' GPUs, of which none is here: no new spills, and threads enough at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use gpu_stats::Error;
use gpu_stats::planned::TOLERANCE;
use gpu_stats::shims::{DEVICES, Figure, Figures, Maker, Survey, folder, measure, usual, version};

/// The figures of versions of Mesa, oldest first.
#[expect(clippy::expect_used, clippy::unwrap_used, reason = "only tests call this: a panic is the report")]
fn checked_in() -> BTreeMap<Vec<u32>, Figures> {
    let files = std::fs::read_dir(folder()).expect("there is a folder of figures");
    let read = |path: &Path| {
        let name = path.file_stem()?.to_str()?.strip_prefix("mesa-")?;
        let number = name.split('.').map(|part| part.parse().unwrap()).collect();
        Some((number, Figures::read(&std::fs::read_to_string(path).unwrap()).unwrap()))
    };
    files.filter_map(|file| read(&file.unwrap().path())).collect()
}

/// Figures of the planner's kernels now; `None` without drivers. A device of each maker, or all with `FOVEAL_ALL_DRIVERS=1`.
#[expect(clippy::panic, reason = "only tests call this: a panic is the report")]
fn survey() -> Option<&'static Survey> {
    static SURVEY: OnceLock<Result<Survey, Error>> = OnceLock::new();
    let measured = || {
        let all = std::env::var("FOVEAL_ALL_DRIVERS").is_ok_and(|all| all == "1");
        let devices = if all { DEVICES.to_vec() } else { usual() };
        measure(Path::new(env!("CARGO_BIN_EXE_gpu-stats")), &devices)
    };
    match SURVEY.get_or_init(measured) {
        Ok(survey) => Some(survey),
        Err(Error::NoDriver { message }) => {
            eprintln!("SKIPPED: {message}");
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn maker(device: &str) -> Option<Maker> {
    DEVICES.into_iter().find(|known| known.name == device).map(|known| known.maker)
}

/// Kernels of `tiled` in f32, by device.
fn tiled(figures: &Figures) -> impl Iterator<Item = (&str, &str, &Figure)> {
    let of_tiled = |kernel: &str| {
        (kernel.ends_with(" tiled") || kernel.ends_with(" tiled/tiled")) && !kernel.contains("\"f16\"")
    };
    let kernels = figures.kernels.iter().filter(move |(kernel, _)| of_tiled(kernel));
    kernels.flat_map(|(kernel, of)| {
        of.iter().map(move |(device, figure)| (kernel.as_str(), device.as_str(), figure))
    })
}

#[test]
fn every_planned_kernel_compiles_and_none_spills_anew() {
    let Some(now) = survey() else { return };
    let known = checked_in();
    let number: Vec<u32> = now.version.split('.').map(|part| part.parse().unwrap()).collect();
    let (newest, figures) = known.last_key_value().unwrap();
    let same = known.get(&number);
    let mut wrong = now.figures.new_spills(same.unwrap_or(figures));
    if let Some(before) = same {
        wrong.extend(now.figures.falls(before, TOLERANCE));
    } else {
        eprintln!(
            "SKIPPED all but spills: the newest figures are of {newest:?}, this is Mesa {}",
            now.version
        );
    }
    wrong.extend(now.missing.iter().filter(|reason| reason.contains("still busy")).cloned());
    for device in &now.figures.devices {
        let kernels = now.figures.kernels.values().filter(|of| of.contains_key(device)).count();
        if kernels < 100 {
            wrong.push(format!("only {kernels} kernels for {device}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nIf this is meant: cargo run -p gpu-stats -- --shims --write-figures",
        wrong.join("\n")
    );
}

#[test]
fn tiled_spills_for_no_maker() {
    let Some(now) = survey() else { return };
    let mut seen = 0;
    for (kernel, device, figure) in tiled(&now.figures) {
        assert_eq!(figure.spills, 0, "{kernel} on {device}");
        seen += 1;
    }
    assert!(seen >= 10 * now.figures.devices.len(), "only {seen} kernels");
}

/// Least shares of the threads that a core of Apple's holds, for the widths that models have.
const APPLE: [(&str, f64); 3] = [
    ("attention 1x8x4096x64 tiled", 0.6),
    ("attention 1x8x4096x80 tiled", 0.6),
    ("attention 1x8x4096x128 tiled", 0.6),
];

#[test]
fn tiled_fills_cores_of_apples() {
    let Some(now) = survey() else { return };
    for (kernel, min) in APPLE {
        let figure = &now.figures.kernels[kernel]["honeykrisp"];
        assert!(figure.occupancy >= min, "{kernel}: {}", figure.occupancy);
    }
}

/// Least shares of multiply-adds in the hot loops of `tiled` on AMD, by width. Newer versions of Mesa load each vector of workgroup
/// memory in halves, and unroll the two slices of a width of 64 together with what masks the scores: RADV of Mesa 22 has 0.85 and
/// more (`tests/planned.rs`).
const AMD: [(&str, f64); 2] = [("attention 1x8x4096x64 tiled", 0.67), ("attention 1x8x4096x128 tiled", 0.75)];

#[test]
fn hot_loops_of_tiled_are_multiply_adds_on_amd() {
    let Some(now) = survey() else { return };
    let mut seen = 0;
    for (kernel, min) in AMD {
        for (device, figure) in &now.figures.kernels[kernel] {
            if maker(device) == Some(Maker::Amd) {
                let reached = figure.fma.unwrap_or(0.0);
                assert!(reached >= min, "{kernel} on {device}: {reached}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 2, "only {seen} kernels");
}

#[test]
fn files_read_back_as_they_were_written() {
    let known = checked_in();
    assert!(!known.is_empty());
    for figures in known.values() {
        assert_eq!(&Figures::read(&figures.text()).unwrap(), figures);
    }
    assert!(Figures::read("kernel\tone\nattention\t1/2/3/4\n").is_err());
    assert!(Figures::read("kernel\tone\nattention\n").is_err());
    assert_eq!(version("turnip Mesa driver Mesa 26.1.6-1"), "26.1.6");
}

#[test]
fn more_spills_and_fewer_threads_are_noticed() {
    let figure = Figure { registers: 64, spills: 1, occupancy: 0.5, workgroup_bytes: 0, fma: Some(0.8) };
    let of = |figure: Figure| {
        let mut figures = Figures::default();
        figures.add("one", "attention", figure);
        figures
    };
    let before = of(figure);
    assert!(before.new_spills(&before).is_empty() && before.falls(&before, TOLERANCE).is_empty());
    assert_eq!(of(Figure { spills: 2, ..figure }).new_spills(&before).len(), 1);
    assert_eq!(before.new_spills(&Figures::default()).len(), 1);
    assert_eq!(of(Figure { occupancy: 0.4, ..figure }).falls(&before, TOLERANCE).len(), 1);
    assert_eq!(of(Figure { fma: None, ..figure }).falls(&before, TOLERANCE).len(), 1);
    let mut other = of(figure);
    other.add("one", "linear", figure);
    assert_eq!(other.falls(&before, TOLERANCE), ["linear on one has no checked-in figure"]);
    assert_eq!(before.falls(&other, TOLERANCE), ["linear on one is no longer planned"]);
    // A device that was not measured is not missing.
    other.add("two", "linear", figure);
    other.kernels.get_mut("linear").unwrap().remove("one");
    assert!(before.falls(&other, TOLERANCE).is_empty());
}
